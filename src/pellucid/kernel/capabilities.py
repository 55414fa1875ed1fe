"""The names of capabilities(7), in the order of their bits (include/uapi/linux/capability.h, Linux 6.18)."""

_IN_ORDER = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
NAMES = tuple(_IN_ORDER.split())

SYS_PTRACE = 1 << NAMES.index("sys_ptrace")
SYS_ADMIN = 1 << NAMES.index("sys_admin")


def names(mask: int) -> tuple[str, ...]:
    """`("cap_kill", "cap_sys_ptrace")` for the bits of `mask`."""
    return tuple(f"cap_{name}" for bit, name in enumerate(NAMES) if mask >> bit & 1)
