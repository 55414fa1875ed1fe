"""/proc/locks as text: holders, waiters, and what is not understood; garbage never raises."""

from hypothesis import given
from hypothesis import strategies as st

from pellucid.kernel import filelocks
from pellucid.kernel.filelocks import EOF, Locked
from pellucid.kernel.openers import _points
from pellucid.observe.locks import words

TEXT = b"""1: OFDLCK ADVISORY  WRITE -1 fe:00:2146460 100 109
1: -> OFDLCK ADVISORY  WRITE -1 fe:00:2146460 100 109
2: POSIX  ADVISORY  READ 32352 fe:00:2146460 5 14
3: FLOCK  ADVISORY  WRITE 32353 00:2a:2146460 0 EOF
3: -> FLOCK  ADVISORY  WRITE 32394 00:2a:2146460 0 EOF
3:  -> FLOCK  ADVISORY  WRITE 32395 00:2a:2146460 0 EOF
4: POSIX  *NOINODE* READ 12 <none>:0 0 EOF
5: LEASE  ACTIVE    READ 77 fe:00:12 0 EOF
"""


def test_holders_and_waiters():
    ofd, posix, flock, lease = filelocks.parse(TEXT)
    assert (ofd.kind, ofd.pid, [one.pid for one in ofd.waiters]) == ("ofd", -1, [-1])
    assert (posix.write, posix.device, posix.start, posix.end, posix.waiters) == (False, "254:0", 5, 14, ())
    assert (flock.device, flock.end, [one.pid for one in flock.waiters]) == ("0:42", EOF, [32394, 32395])
    assert lease.kind == "lease"


def test_which_locks_exclude_each_other():
    def lock(kind="posix", write=True, start=0, end=9, inode=1):
        return Locked(1, kind, write, 41, "8:1", inode, start, end)

    assert lock().excludes(lock())
    assert lock().excludes(lock("ofd", write=False))
    assert not lock(write=False).excludes(lock(write=False)), "both read"
    assert not lock().excludes(lock(start=10, end=20)), "other bytes"
    assert not lock().excludes(lock("flock", end=EOF)), "flock and fcntl don't see each other"
    assert not lock().excludes(lock(inode=2))


def test_a_lock_in_words():
    (flock,) = (filelocks.told(one, (7, 8)) for one in filelocks.parse(TEXT) if one.kind == "flock")
    assert words(flock, 7) == "locked for writing by flock, together with pid 8; pids 32394, 32395 wait for it"
    assert words(flock, None).startswith("pids 7, 8 have it locked for writing by flock")


def test_the_lock_lines_of_a_fdinfo():
    info = b"pos:\t0\nflags:\t02\nmnt_id:\t27\nino:\t12\nlock:\t1: FLOCK  ADVISORY  WRITE 41 08:01:12 0 EOF\n"
    (one,) = filelocks.of_fdinfo(info)
    assert (one.pid, one.inode) == (41, 12)
    assert filelocks.of_fdinfo(b"pos:\t0\n") == ()


def test_mount_points_with_spaces_and_mounts_on_top_of_each_other():
    text = b"""27 1 254:0 / / rw - ext4 /dev/vda rw
41 27 0:40 / /mnt/a\\040b rw - tmpfs none rw
42 27 0:41 / /mnt/a\\040b rw - tmpfs none rw
"""
    assert _points(text) == {"/": "254:0", "/mnt/a b": "0:41"}


@given(st.binary(max_size=300))
def test_garbage_is_no_lock(text):
    filelocks.parse(text)
    filelocks.of_fdinfo(b"lock:\t" + text)


@given(
    st.lists(st.sampled_from(["1:", "->", "POSIX", "FLOCK", "ADVISORY", "READ", "12", "-1", "a:b:c", "8:1:7", "EOF"]))
)
def test_lines_of_the_right_words_in_a_wrong_order(fields):
    filelocks.parse(" ".join(fields).encode())
