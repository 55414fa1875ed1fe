"""What each system call's arguments are, in one word each, and what that means for a tracer.

A word is a kind of `kernel.decode`: path and fd, flags by the name of their table in `decode_flags`, sizes, addresses. Calls that
are not in the table are shown with their arguments in hexadecimal. Sources: the manual pages of section 2, and
include/linux/syscalls.h of Linux 6.18.
"""

from pellucid.kernel import syscalls
from pellucid.kernel.traced import Wanted

_TABLE = """
read fd buffer size
write fd buffer size
pread64 fd buffer size offset
pwrite64 fd buffer size offset
readv fd buffer count
writev fd buffer count
preadv fd buffer count offset
pwritev fd buffer count offset
preadv2 fd buffer count offset - rw
pwritev2 fd buffer count offset - rw
open path open mode
openat dirfd path open mode
openat2 dirfd path pointer size
creat path mode
close fd
close_range fd fd closerange
dup fd
dup2 fd fd
dup3 fd fd open
fcntl fd fcntl number
ioctl fd ioctl pointer
flock fd flock
lseek fd offset whence
ftruncate fd size
truncate path size
fallocate fd fallocate offset size
fsync fd
fdatasync fd
syncfs fd
sync_file_range fd offset size number
fadvise64 fd offset size fadvise
readahead fd offset size
sendfile fd fd pointer size
copy_file_range fd pointer fd pointer size
splice fd pointer fd pointer size splice
tee fd fd size splice
vmsplice fd buffer count splice
stat path pointer
lstat path pointer
fstat fd pointer
newfstatat dirfd path pointer at
statx dirfd path at number pointer
statfs path pointer
fstatfs fd pointer
access path access
faccessat dirfd path access
faccessat2 dirfd path access at
readlink path buffer size
readlinkat dirfd path buffer size
getcwd buffer size
chdir path
fchdir fd
chroot path
mkdir path mode
mkdirat dirfd path mode
rmdir path
unlink path
unlinkat dirfd path unlink
rename path path
renameat dirfd path dirfd path
renameat2 dirfd path dirfd path rename
link path path
linkat dirfd path dirfd path at
symlink path path
symlinkat path dirfd path
mknod path mode number
mknodat dirfd path mode number
chmod path mode
fchmod fd mode
fchmodat dirfd path mode
fchmodat2 dirfd path mode at
chown path uid uid
lchown path uid uid
fchown fd uid uid
fchownat dirfd path uid uid at
utime path pointer
utimes path pointer
futimesat dirfd path pointer
utimensat dirfd path pointer at
getdents fd buffer size
getdents64 fd buffer size
getxattr path string buffer size
lgetxattr path string buffer size
fgetxattr fd string buffer size
setxattr path string buffer size number
lsetxattr path string buffer size number
fsetxattr fd string buffer size number
listxattr path buffer size
llistxattr path buffer size
flistxattr fd buffer size
removexattr path string
lremovexattr path string
name_to_handle_at dirfd path pointer pointer at
open_by_handle_at fd pointer open
inotify_add_watch fd path inotify
inotify_rm_watch fd number
fanotify_mark fd number number dirfd path
mount path path string mount pointer
umount2 path umount
pivot_root path path
swapon path number
swapoff path
acct path
quotactl number path number pointer
uselib path
execve path pointer pointer
execveat dirfd path pointer pointer at
socket domain socktype number
socketpair domain socktype number pair
connect fd sockaddr size
bind fd sockaddr size
listen fd number
accept fd sockaddrout pointer
accept4 fd sockaddrout pointer socktype
getsockname fd sockaddrout pointer
getpeername fd sockaddrout pointer
getsockopt fd level option pointer pointer
setsockopt fd level option pointer size
shutdown fd shutdown
sendto fd buffer size msg sockaddr size
recvfrom fd buffer size msg sockaddrout pointer
sendmsg fd pointer msg
recvmsg fd pointer msg
sendmmsg fd pointer count msg
recvmmsg fd pointer count msg pointer
pipe pair
pipe2 pair open
eventfd number
eventfd2 number open
signalfd fd pointer size
signalfd4 fd pointer size open
timerfd_create clock open
timerfd_settime fd number pointer pointer
timerfd_gettime fd pointer
inotify_init
inotify_init1 open
fanotify_init number open
memfd_create string memfd
epoll_create number
epoll_create1 open
epoll_ctl fd epollctl fd pointer
epoll_wait fd buffer count milliseconds
epoll_pwait fd buffer count milliseconds pointer size
epoll_pwait2 fd buffer count pointer pointer size
poll pointer count milliseconds
ppoll pointer count pointer pointer size
select count pointer pointer pointer pointer
pselect6 count pointer pointer pointer pointer pointer
mmap pointer size prot mmap fd offset
mprotect pointer size prot
munmap pointer size
mremap pointer size size number pointer
madvise pointer size madvise
msync pointer size msync
mlock pointer size
munlock pointer size
mlockall number
brk pointer
shmget number size octal
shmat number pointer number
shmctl number number pointer
semget number count octal
semop number pointer count
semtimedop number pointer count pointer
futex pointer futex number pointer pointer number
futex_waitv pointer count number pointer clock
set_robust_list pointer size
clone clone pointer pointer pointer pointer
clone3 pointer size
fork
vfork
wait4 pid pointer wait pointer
waitid idtype pid pointer waitid pointer
kill pid signal
tkill pid signal
tgkill pid pid signal
rt_sigaction signal pointer pointer size
rt_sigprocmask sigmask pointer pointer size
rt_sigtimedwait pointer pointer pointer size
rt_sigqueueinfo pid signal pointer
pidfd_open pid open
pidfd_send_signal fd signal pointer number
pidfd_getfd fd number number
nanosleep pointer pointer
clock_nanosleep clock number pointer pointer
clock_gettime clock pointer
clock_getres clock pointer
clock_settime clock pointer
getrandom buffer size number
prctl prctl number number number number
arch_prctl number pointer
prlimit64 pid resource pointer pointer
getrlimit resource pointer
setrlimit resource pointer
getrusage number pointer
sched_setaffinity pid size pointer
sched_getaffinity pid size pointer
sched_yield
getpid
gettid
getppid
setsid
setpgid pid pid
getpgid pid
setuid uid
setgid uid
setresuid uid uid uid
setresgid uid uid uid
setns fd clone
unshare clone
umask octal
ptrace number pid pointer pointer
seccomp number number pointer
bpf number pointer size
perf_event_open pointer pid number fd number
process_vm_readv pid pointer count pointer count number
process_vm_writev pid pointer count pointer count number
io_uring_setup count pointer
io_uring_enter fd count count number pointer size
io_uring_register fd number pointer count
membarrier number number number
rseq pointer size number number
uname pointer
sysinfo pointer
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KINDS: dict[str, tuple[str, ...]] = {
    name: tuple(kinds) for name, *kinds in (line.split() for line in _TABLE.strip().split("\n"))
}
"""Kinds of arguments by the name of the call."""

_READS = {"read": 0, "pread64": 0, "readv": 0, "preadv": 0, "preadv2": 0, "recvfrom": 0, "recvmsg": 0, "sendfile": 1}
_READS |= {"copy_file_range": 0, "splice": 0}
_WRITES = {
    "write": 0,
    "pwrite64": 0,
    "writev": 0,
    "pwritev": 0,
    "pwritev2": 0,
    "sendto": 0,
    "sendmsg": 0,
    "sendfile": 0,
}
_WRITES |= {"copy_file_range": 2, "splice": 2}
"""The argument that is the descriptor which bytes, as many as the result, come from or go to."""

_MAKES_FD = _names(
    "open openat openat2 creat dup dup2 dup3 socket accept accept4 eventfd eventfd2 signalfd signalfd4 timerfd_create "
    "inotify_init inotify_init1 fanotify_init memfd_create epoll_create epoll_create1 pidfd_open pidfd_getfd perf_event_open "
    "io_uring_setup open_by_handle_at userfaultfd"
)

PAIRS = _names("pipe pipe2 socketpair")
OPENS = (_MAKES_FD - _names("dup2 dup3")) | PAIRS
"""What makes descriptors of new numbers; a pair is written to memory."""

FILES = _names(
    "open openat openat2 creat close dup dup2 dup3 fcntl rename renameat renameat2 unlink unlinkat rmdir mkdir mkdirat link "
    "linkat symlink symlinkat truncate ftruncate chmod fchmod fchmodat chown fchownat lchown utimensat mknod mknodat "
    "execve execveat memfd_create mmap pipe pipe2 socketpair"
)
"""What a report of the files that were read and written is made of."""

NETWORK = _names(
    "socket connect bind listen accept accept4 shutdown close dup dup2 dup3 fcntl sendto getsockname getsockopt pipe pipe2 "
    "socketpair"
)
"""The same for connections."""

ALWAYS = frozenset({"chdir", "fchdir", "execve", "execveat"})
"""Told always: what relative paths depend on, and which programs run."""


def wanted(tell: frozenset[str], *, descriptors: bool) -> dict[int, Wanted]:
    """By call number, for this machine's calls. `tell`: every one of these, not only those that fail or are slow."""
    return {
        number: _wanted(name, kinds, tell=name in tell, descriptors=descriptors)
        for name, kinds in KINDS.items()
        if (number := syscalls.number(name)) is not None
    }


def _wanted(name: str, kinds: tuple[str, ...], *, tell: bool, descriptors: bool) -> Wanted:
    paths = [place for place, kind in enumerate(kinds) if kind == "path"]
    address = next((place for place, kind in enumerate(kinds) if kind in ("sockaddr", "sockaddrout", "pair")), None)
    return Wanted(
        path=paths[0] if paths else None,
        second=paths[1] if len(paths) > 1 else None,
        address=address,
        reads=_READS.get(name) if descriptors else None,
        writes=_WRITES.get(name) if descriptors else None,
        closes=0 if name == "close" else 1 if name in ("dup2", "dup3") else None,
        fd_first=bool(kinds) and kinds[0] in ("fd", "dirfd"),
        makes_fd=name in _MAKES_FD,
        tell=tell,
        every=tell and name in ("connect", "getsockopt"),  # a connect in the background fails when it is asked for
    )
