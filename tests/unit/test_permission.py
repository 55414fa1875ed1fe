"""Each of the kernel's checks, from what it looks at: which one said no, in one sentence with one remedy."""

import pytest

from pellucid.kernel import capabilities
from pellucid.kernel.permission import Circumstances, decide

ALL = (1 << len(capabilities.NAMES)) - 1
NO_PTRACE = ALL & ~capabilities.SYS_PTRACE
CONTAINER, OTHER_USER_NS = 4026532000, 4026532001


def refused(**changes):
    """A look of mina at a process of hers that nothing forbids, with `changes`."""
    facts = {
        "pid": 4242,
        "uid": 1000,
        "gid": 1000,
        "user": "mina",
        "capabilities": 0,
        "bounding": ALL,
        "target_user": "mina",
        "target_uids": (1000, 1000, 1000),
        "target_gids": (1000, 1000, 1000),
    }
    return decide(Circumstances(**(facts | changes)))


OF_ROOT = {"target_user": "root", "target_uids": (0, 0, 0), "target_gids": (0, 0, 0), "target_capabilities": ALL}


@pytest.mark.parametrize(
    ("check", "says", "facts"),
    [
        ("uid", "runs as root (uid 0), you are mina (uid 1000) without CAP_SYS_PTRACE", OF_ROOT),
        ("uid", "runs as mina (uid 0)", {"target_uids": (1000, 1000, 0)}),
        ("gid", "group id 27, you with 1000", {"target_gids": (1000, 27, 27)}),
        ("dumpable", "not dumpable", {"dumpable": False}),
        ("user-namespace", "another user namespace", {"same_user_ns": False}),
        ("capability", "capabilities that you lack (cap_kill)", {"target_capabilities": 1 << 5}),
        ("capability", "cap_chown, cap_dac_override, cap_dac_read_search and 38 more", {"target_capabilities": ALL}),
        ("yama", "ptrace_scope is 1: only a process's own ancestors", {"yama": 1}),
        ("yama", "ptrace_scope is 2: nobody without CAP_SYS_PTRACE", {"yama": 2, "descendant": True}),
    ],
)
def test_the_first_check_that_said_no(check, says, facts):
    refusal = refused(**facts)
    assert refusal.check == check
    assert says in refusal.said
    assert refusal.remedy == "sudo pellucid why 4242"


@pytest.mark.parametrize(
    ("first", "both"),
    [
        ("uid", {**OF_ROOT, "dumpable": False, "yama": 1, "same_user_ns": False}),
        ("dumpable", {"dumpable": False, "yama": 2, "target_capabilities": ALL}),
        ("user-namespace", {"same_user_ns": False, "target_capabilities": ALL, "yama": 1}),
    ],
)
def test_the_order_is_that_of_the_kernel(first, both):
    assert refused(**both).check == first


def test_yama_lets_an_ancestor_look_so_it_was_a_security_module():
    refusal = refused(yama=1, descendant=True)
    assert refusal.check == "security-module"
    assert refusal.remedy.startswith("sudo journalctl")


@pytest.mark.parametrize("mine", [0, ALL])
def test_yama_scope_3_stops_root_too(mine):
    refusal = refused(capabilities=mine, yama=3)
    assert refusal.check == "yama"
    assert "sudo" not in refusal.remedy
    assert "reboot" in refusal.remedy


def test_the_capability_counts_only_in_its_user_namespace():
    refusal = refused(**OF_ROOT, capabilities=ALL, user_ns=OTHER_USER_NS, same_user_ns=False)
    assert refusal.check == "user-namespace"
    assert refusal.remedy == "on the host, outside of this user namespace: sudo pellucid why 4242"


def test_root_of_the_host_refused_by_a_module():
    assert refused(**OF_ROOT, capabilities=ALL, uid=0, gid=0, user="root").check == "security-module"


def test_a_container_without_the_capability_names_the_option_that_gives_it():
    refusal = refused(**OF_ROOT, bounding=NO_PTRACE, pid_ns=CONTAINER)
    assert refusal.remedy == "start this container with --cap-add SYS_PTRACE"


def test_root_of_a_container_is_not_told_to_use_sudo():
    mine = {"uid": 0, "gid": 0, "user": "root", "capabilities": NO_PTRACE, "bounding": NO_PTRACE, "pid_ns": CONTAINER}
    refusal = refused(**mine, target_user="app", target_uids=(999, 999, 999), target_gids=(999, 999, 999))
    assert refusal.check == "uid"
    assert refusal.remedy == "start this container with --cap-add SYS_PTRACE"


def test_sudo_is_not_proposed_alone_where_it_cannot_work():
    assert refused(**OF_ROOT, no_new_privs=True).remedy.startswith("from a login shell (no_new_privs")
    assert refused(**OF_ROOT, bounding=NO_PTRACE).remedy.startswith("from a login shell (this one can never gain")


def test_a_filter_on_the_system_call_is_told_from_a_refusal_of_the_process():
    assert refused(opens=True, seccomp=2).check == "seccomp"
    assert refused(opens=True).check == "passed"


def test_the_remedy_repeats_the_command_that_was_refused():
    assert refused(**OF_ROOT, command="files").remedy == "sudo pellucid files 4242"
