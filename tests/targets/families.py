"""Makes children in every way that there is, each of which looks for a file that is not there: fork, vfork, spawn, exec, threads."""
import os
import subprocess
import sys
import threading

directory = sys.argv[1]


def look(name):
    try:
        os.stat(os.path.join(directory, name))
    except OSError:
        pass


def forked():
    if (child := os.fork()) == 0:
        look("by-fork")
        if (grandchild := os.fork()) == 0:
            look("by-grandchild")
            os._exit(0)
        os.waitpid(grandchild, 0)
        os._exit(0)
    os.waitpid(child, 0)


forked()
again = [sys.executable, "-S", "-c", "import os,sys; os.path.exists(sys.argv[1])"]
subprocess.run([*again, os.path.join(directory, "by-subprocess")], check=True)  # vfork and execve
os.waitpid(os.posix_spawn(sys.executable, [*again, os.path.join(directory, "by-spawn")], os.environ), 0)
thread = threading.Thread(target=look, args=("by-thread",))
thread.start()
thread.join()
if (child := os.fork()) == 0:  # execve by another thread than the first: its id becomes that of the process
    runs = threading.Thread(
        target=os.execv, args=(sys.executable, [*again, os.path.join(directory, "by-exec-of-a-thread")])
    )
    runs.start()
    runs.join()
os.waitpid(child, 0)
