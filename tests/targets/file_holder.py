"""Holds files of the folder that is its argument in one way; prints "ready" when it does. Usage: file_holder.py FOLDER WAY

open · append (lines, for ever) · map · cwd · flock · posix · ofd · wait-flock · wait-posix · wait-ofd · deleted · deleted-map ·
growing (a deleted file) · leak (a descriptor every 10 ms) · inherited (a child has the flock, this process too)
"""

import ctypes, fcntl, mmap, os, struct, sys, time

folder, way = sys.argv[1:3]
path = folder + "/file"


def locked(command, kind, start=10, length=5):
    return fcntl.fcntl(file, command, struct.pack("hhqqi4x", kind, 0, start, length, 0))


if way == "cwd":
    os.chdir(folder)
elif way.startswith("deleted") or way == "growing":
    path = folder + "/gone-" + way
    file = open(path, "w+b")
    file.write(b"first\n" * 1000)
    if way == "deleted":
        file.seek(1 << 20)
        file.write(b"end of a file with a hole\n")
        file.seek(17)
    file.flush()
    if way == "deleted-map":
        kept = ctypes.CDLL(None)
        kept.mmap.restype = ctypes.c_void_p
        assert kept.mmap(None, ctypes.c_size_t(4096), 1, 1, file.fileno(), ctypes.c_long(0)) not in (None, 2**64 - 1)
        file.close()
    os.unlink(path)
else:
    file = open(path, "a+b")
if way == "map":
    kept = ctypes.CDLL(None)
    kept.mmap.restype = ctypes.c_void_p
    assert kept.mmap(None, ctypes.c_size_t(4096), 1, 1, file.fileno(), ctypes.c_long(0)) not in (None, 2**64 - 1)
    file.close()
if way in ("flock", "inherited"):
    fcntl.flock(file, fcntl.LOCK_EX)
elif way == "posix":
    locked(fcntl.F_SETLK, fcntl.F_WRLCK)
elif way == "ofd":
    locked(37, fcntl.F_WRLCK)
if way == "inherited":
    child = os.fork()
    if not child:
        time.sleep(100)
        os._exit(0)
    print("child", child)
print("ready", flush=True)
if way == "wait-flock":
    fcntl.flock(file, fcntl.LOCK_EX)
elif way == "wait-posix":
    locked(fcntl.F_SETLKW, fcntl.F_WRLCK)
elif way == "wait-ofd":
    locked(38, fcntl.F_WRLCK)
elif way == "growing":
    number = 0
    while True:
        file.write(b"line %d\n" % number)
        file.flush()
        number += 1
        time.sleep(0.002)
elif way == "leak":
    kept = []
    while True:
        kept.append(open(path))
        time.sleep(0.01)
time.sleep(100)
