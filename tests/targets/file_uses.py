"""Reads, writes, creates, appends, renames and deletes files of known sizes, and talks to a socket of its own."""
import os
import socket
import subprocess
import sys

os.chdir(sys.argv[1])
with open("made.txt", "w") as file:
    file.write("x" * 1000)
    file.flush()
    os.write(file.fileno(), b"y" * 234)
with open("old.txt", "a") as file:
    file.write("z" * 11)
with open("replaced.txt", "w") as file:
    file.write("w" * 22)
with open("read.txt") as file:
    file.read()
with open("temporary.part", "w") as file:
    file.write("v" * 33)
os.rename("temporary.part", "final.txt")
with open("gone.txt", "w") as file:
    file.write("u" * 44)
os.unlink("gone.txt")
os.unlink("unwanted.txt")
os.makedirs("new/.cache/x")
with open("new/.cache/x/entry", "w") as file:
    file.write("c" * 55)
copy = os.dup(os.open("by-dup.txt", os.O_CREAT | os.O_WRONLY))
os.write(copy, b"d" * 66)
os.makedirs("outer/inner")
outer = os.open("outer", os.O_DIRECTORY)  # as shutil.rmtree does it; nobody can ask what these were a moment later
inner = os.open("inner", os.O_DIRECTORY, dir_fd=outer)
os.close(inner)
os.rmdir("inner", dir_fd=outer)
os.close(outer)
subprocess.run(["sh", "-c", "printf 12345 > by-child.txt"], check=True)
here = socket.create_server(("127.0.0.1", 0))
there = socket.create_connection(here.getsockname())
peer, _ = here.accept()
there.sendall(b"q" * 300)
peer.recv(300)
peer.sendall(b"a" * 500)
while len(there.recv(500)) == 0:
    pass
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    pass
print(here.getsockname()[1])
