"""Holds one of each kind of descriptor until it is ended; prints "ready" and, as JSON, what it holds: name to descriptor."""
import ctypes, json, mmap, os, select, socket, subprocess, sys, tempfile, time

libc = ctypes.CDLL(None)
here = tempfile.mkdtemp(prefix="pellucid-test-")
held, kept = {}, []


def keep(name, thing):
    kept.append(thing)
    held[name] = thing if isinstance(thing, int) else thing.fileno()
    return thing


plain = keep("file", open(here + "/plain", "wb"))
plain.write(b"x" * 100)
plain.flush()
keep("append", open(here + "/plain", "ab"))
keep("directory", os.open(here, os.O_RDONLY))
keep("misleading", open(here + "/not really (deleted)", "w"))
gone = keep("deleted", open(here + "/gone", "w+b"))
gone.write(b"y" * 5000)
gone.flush()
kept.append(mmap.mmap(gone.fileno(), 4096))
os.unlink(here + "/gone")
keep("device", os.open("/dev/zero", os.O_RDONLY))
reader, writer = os.pipe()
keep("reader", reader)
keep("writer", writer)
lonely, closed = os.pipe()
keep("lonely", lonely)
os.close(closed)
child = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
keep("to_child", child.stdin)
os.mkfifo(here + "/fifo")
keep("fifo", os.open(here + "/fifo", os.O_RDWR))
one, two = socket.socketpair()
keep("socket", one)
kept.append(two)
waiting = keep("epoll", select.epoll())
waiting.register(one, select.EPOLLIN)
keep("eventfd", libc.eventfd(3, 0))
keep("timerfd", libc.timerfd_create(1, 0))
libc.timerfd_settime(held["timerfd"], 0, (ctypes.c_long * 4)(0, 0, 500, 0), None)
mask = (ctypes.c_ulong * 16)(1 << 9)
keep("signalfd", libc.signalfd(-1, mask, 0))
inotify = keep("inotify", libc.inotify_init())
libc.inotify_add_watch(inotify, here.encode(), 0xFFF)
keep("memfd", libc.memfd_create(b"scratch", 0))
if hasattr(os, "pidfd_open"):
    keep("pidfd", os.pidfd_open(child.pid))

print("child", child.pid)
print("ready", json.dumps([here, held]), flush=True)
sys.stdin.read()
child.kill()
for name in os.listdir(here):
    os.unlink(here + "/" + name)
os.rmdir(here)
