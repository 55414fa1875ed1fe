"""Looks that the kernel refuses for one reason each: that reason is told, with what works there."""

import os
import pwd
import signal
import subprocess
import time
from errno import EPERM

import pytest

from pellucid.kernel import access, capabilities, fds, maps, memory, procfs, syscalls, tasks  # noqa: F401  a child that became nobody may not be able to import any more
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted, NotUnderstood
from tests.forked import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    NOBODY,
    forbid,
    looked,
    mount,
    needs_root,
    nobody,
    not_in_bounding_set,
    unshare,
    without_capabilities,
)
from tests.syscalls import until

pytestmark = needs_root
SYS_PTRACE = capabilities.NAMES.index("sys_ptrace")
NAME = pwd.getpwuid(NOBODY).pw_name if os.geteuid() == 0 else ""


@pytest.fixture
def sleeper():
    """`sleeper("--reuid=65534")` → pid of a `sleep` started by setpriv with these options (by root without any)."""
    started = []

    def start(*options):
        child = subprocess.Popen([*(["setpriv", "--clear-groups", *options] if options else []), "sleep", "60"])
        started.append(child)
        for _ in range(200):
            if procfs.process(child.pid).name == "sleep":
                return child.pid
            time.sleep(0.01)
        pytest.fail("sleep was not started")

    yield start
    for child in started:
        child.kill()
        child.wait()


def refusal(pid):
    """(check by the words of the error, said, remedy) of a look at the memory of `pid`; None when it is allowed."""
    why = access.may_read(pid)
    return None if why is None else (why.said, why.remedy, type(why).__name__, why.exit_status)


def test_root_may_look_at_everybody(sleeper):
    assert access.may_read(sleeper()) is None
    assert access.may_read(sleeper(f"--reuid={NOBODY}", f"--regid={NOBODY}")) is None


def test_another_users_process(sleeper):
    pid = sleeper()
    said, remedy, kind, status = looked(lambda: refusal(pid), nobody)
    assert said == (
        f"EACCES, Permission denied: pid {pid} runs as root (uid 0), you are {NAME} (uid {NOBODY}) without CAP_SYS_PTRACE"
    )
    assert remedy == f"sudo pellucid why {pid}"
    assert (kind, status) == ("NotPermitted", 4)


def test_ones_own_process_needs_no_privileges(sleeper):
    pid = sleeper(f"--reuid={NOBODY}", f"--regid={NOBODY}")
    assert looked(lambda: refusal(pid), nobody) is None


def test_the_same_user_in_another_group(sleeper):
    pid = sleeper(f"--reuid={NOBODY}", "--regid=27")
    said, remedy, *_ = looked(lambda: refusal(pid), nobody)
    assert f"pid {pid} runs with group id 27, you with {NOBODY}" in said
    assert remedy == f"sudo pellucid why {pid}"


def test_a_process_of_ones_own_that_is_not_dumpable():
    """setresuid makes a process not dumpable until its next exec (kernel/cred.c, commit_creds)."""
    child = os.fork()
    if child == 0:
        nobody()
        signal.pause()
    try:
        until(lambda: procfs.process(child).uid == NOBODY, 60)
        said, remedy, *_ = looked(lambda: refusal(child), nobody)
        assert f"pid {child} is yours but not dumpable" in said
        assert remedy == f"sudo pellucid why {child}"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_process_of_the_same_user_with_more_capabilities(sleeper):
    pid = sleeper()
    said, remedy, *_ = looked(lambda: refusal(pid), without_capabilities)
    assert f"pid {pid} has capabilities that you lack (cap_chown, cap_dac_override," in said
    assert remedy == f"sudo pellucid why {pid}"


def test_a_shell_that_can_never_have_the_capability(sleeper):
    pid = sleeper()
    _, remedy, *_ = looked(lambda: refusal(pid), not_in_bounding_set(SYS_PTRACE), nobody)
    assert (
        remedy
        == f"from a login shell (this one can never gain CAP_SYS_PTRACE, CapBnd lacks it): sudo pellucid why {pid}"
    )


def test_root_of_another_user_namespace(sleeper):
    pid = sleeper()

    def as_root_of_it():
        os.write(asking, b"1")
        os.read(mapped, 1)
        return refusal(pid)

    (asked, asking), (mapped, mapping) = os.pipe(), os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside, and gives the one who unshared its user id 0
        os.read(asked, 1)
        (child,) = [one for one in procfs.children(os.getppid()) if one != os.getpid() and one != pid]
        for kind in ("uid", "gid"):
            with open(f"/proc/{child}/{kind}_map", "w") as file:
                file.write("0 0 1")
        os.write(mapping, b"1")
        os._exit(0)
    try:
        said, remedy, *_ = looked(as_root_of_it, unshare(CLONE_NEWUSER))
    finally:
        os.waitpid(helper, 0)
        for fd in (asked, asking, mapped, mapping):
            os.close(fd)
    assert f"pid {pid} belongs to a user namespace outside of this one" in said
    assert remedy == f"on the host, outside of this user namespace: sudo pellucid why {pid}"


def test_a_process_that_proc_hides(sleeper):
    pid = sleeper()
    hidden = (unshare(CLONE_NEWNS), mount("proc", "/proc", "hidepid=2"), nobody)

    def ask():
        try:
            procfs.process(pid)
        except NotPermitted as error:
            hides = (error.said, error.remedy)
        try:
            procfs.process(4_000_000)
        except NoSuchProcess as error:
            return hides, error.said, [check for check in access.checks() if "shows all" in check.name]

    (said, remedy), missing, (check,) = looked(ask, *hidden)
    assert f"pid {pid} exists, but /proc hides the processes of other users (mounted with hidepid)" in said
    assert remedy == f"sudo pellucid why {pid}"
    assert missing == "there is no process with pid 4000000"
    assert not check.ok
    assert "hidepid" in check.detail


def test_a_filter_on_the_copying_call(sleeper):
    pid = sleeper()
    number = syscalls.number("process_vm_readv")
    error = OSError(EPERM, "")

    def ask():
        why = access.refused(pid, "copy its memory", error)
        return why.said, why.remedy, [check for check in access.checks() if "process_vm_readv" in check.name]

    said, remedy, (check,) = looked(ask, forbid(number))
    assert "seccomp filter on this shell" in said
    assert remedy == f"from a shell outside of the sandbox: pellucid why {pid}"
    assert not check.ok
    assert "Seccomp is 2" in check.detail
    fine = [one for one in access.checks() if "process_vm_readv" in one.name]
    assert fine[0].ok


def test_a_zombie_has_no_memory():
    child = subprocess.Popen(["true"])
    try:
        while procfs.process(child.pid).state != "zombie":
            time.sleep(0.01)
        for look in (memory.Memory.open, access.may_read):
            with pytest.raises(NotUnderstood) as caught:
                look(child.pid)
            assert caught.value.said == (
                f"pid {child.pid} (true) is a zombie: it has ended, and its parent, pid {os.getpid()}, has not collected it"
            )
            assert caught.value.remedy == f"pellucid why {os.getpid()}"
    finally:
        child.wait()


def test_a_thread_of_the_kernel_has_no_memory():
    if procfs.process(2).name != "kthreadd":
        pytest.skip("pid 2 is not kthreadd here")
    with pytest.raises(NotUnderstood) as caught:
        access.may_read(2)
    assert "pid 2 (kthreadd) is a thread of the kernel" in caught.value.said
    assert str(access.no_memory(procfs.process(2))).splitlines()[1] == caught.value.said


def test_what_is_no_refusal_is_not_called_one(sleeper):
    from errno import EMFILE

    why = access.refused(sleeper(), "open it", OSError(EMFILE, ""))
    assert type(why) is LookError
    assert why.said == "EMFILE, Too many open files"


def test_the_threads_of_another_users_process_without_their_calls(sleeper):
    pid = sleeper()
    found, gaps = looked(lambda: tasks.tasks(pid), nobody)
    assert found[0].call is None
    assert found[0].name == "sleep"
    assert found[0].switches is not None
    assert found[0].asleep_s is not None, "sched is readable for everybody"
    (gap,) = gaps
    assert gap.what == f"the system calls of the threads of pid {pid}"
    assert "runs as root" in gap.why
    assert gap.remedy == f"sudo pellucid why {pid}"


def test_what_this_user_can_see():
    names = [check.name for check in access.checks()]
    assert len(names) == len(set(names))
    of_nobody = {check.name: check for check in looked(access.checks, nobody)}
    assert not of_nobody["processes of other users"].ok
    assert of_nobody["processes of other users"].remedy == "sudo pellucid ..."
    assert not of_nobody["sockets of containers"].ok
    assert of_nobody["copying memory (process_vm_readv)"].ok
    contained = {check.name: check for check in looked(access.checks, not_in_bounding_set(SYS_PTRACE), nobody)}
    assert "login shell" in contained["processes of other users"].remedy
