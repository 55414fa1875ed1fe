"""What a replica is to its warden, without Ray: a board, a loop that beats, a thread that predicts. `replica_alone.py lock|mute|nothing TIMEOUT`."""
import os
import subprocess
import sys
import threading
import time

import msgspec

from pellucid.serve import processes, slots
from pellucid.serve.cluster.warden import Watched
from pellucid.serve.board import Board

what, timeout = sys.argv[1], float(sys.argv[2])
NEVER = threading.Lock()
NEVER.acquire()
board = Board.new(1)
slot = board.slots[0]
slot.want(1)
slot.begin(os.getpid(), 1)
slot.state(slots.READY)


def predict():
    slot.predict_thread(threading.get_native_id())
    slot.predicting(7, 3, 1)
    with NEVER:
        pass


pidfd = os.pidfd_open(os.getpid())
watched = Watched(pid=os.getpid(), pidfd=pidfd, parent=os.getppid(), board=board.fd, model="alone", version=2, timeout_s=timeout)
slot.beat()
line = [sys.executable, "-m", "pellucid.serve.cluster.warden", msgspec.json.encode(watched).decode()]
warden = subprocess.Popen(line, pass_fds=[board.fd, pidfd], start_new_session=True)
processes.let_look(warden.pid)
if what == "lock":
    threading.Thread(target=predict, name="predict", daemon=True).start()
print("ready", warden.pid, flush=True)
if what == "mute":
    slot.predicting(8, 1, 1)
    time.sleep(600)
if what == "leaves":
    slot.state(slots.LEAVING)
    sys.exit()
while True:
    slot.beat()
    time.sleep(0.05)
