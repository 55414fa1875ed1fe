"""A process whose every name is an attack on whoever prints it. argv: a folder to work in, and the hostile name. It says "ready"."""
import ctypes
import fcntl
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time

folder, name = sys.argv[1:3]
os.makedirs(os.path.join(folder, name))
os.chdir(os.path.join(folder, name))
ctypes.CDLL(None).prctl(15, name.encode()[:15])
os.environ[f"HOSTILE_{name}"] = name
os.environ["HOSTILE"] = name
held = open(f"held {name}", "w+")
held.write(name * 100)
held.flush()
fcntl.flock(held, fcntl.LOCK_EX)
gone = open(f"gone {name}", "w+")
gone.write(name)
gone.flush()
os.unlink(gone.name)
os.mkfifo(f"fifo {name}")
fifo = os.open(f"fifo {name}", os.O_RDWR)
listening = socket.socket(socket.AF_UNIX)
listening.bind(f"unix {name}"[:60])
listening.listen()
lock = threading.Lock()


def source(text):
    """A module of a hostile name, whose function of a hostile name runs `text`."""
    path = f"module {name}.py"
    with open(path, "w") as file:
        file.write(f"def wait(name, lock, event):\n    {text}\n")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    code = module.wait.__code__
    module.wait.__code__ = code.replace(co_name=f"call {name}", co_qualname=f"call {name}")
    return module.wait


Kind = type(f"Kind {name}", (), {})
kept = {name + str(at): [Kind() for _ in range(100)] for at in range(50)}
wait = source("lock.acquire()")
lock.acquire()
threading.Thread(target=wait, args=(name, lock, None), name=f"thread {name}", daemon=True).start()


def fails():
    """Calls that fail, with hostile paths; output that is hostile; work for a profile."""
    while True:
        try:
            open(f"missing {name}")
        except OSError as error:
            text = str(error)
        sum(range(20_000))
        os.write(2, (name + "\n").encode())
        time.sleep(0.01)


threading.Thread(target=fails, name=name, daemon=True).start()
child = subprocess.Popen([f"cat {name}", "-"], executable="/bin/cat", stdin=subprocess.PIPE)  # ends with us
print("ready", flush=True)
child.wait()
