r"""A JVM answers questions about itself: its threads, its classes with their instances, its flags. This asks, by the attach protocol.

    .attach_pidN in its /tmp, SIGQUIT  →  it listens on /tmp/.java_pidN  →  `1\0 command \0 three arguments \0`  →  `code \n text`

That is no mere reading: a thread of the JVM answers, most answers stop all its threads for a moment (a safepoint), and its socket stays in
/tmp. So the counters (`perfdata`) are asked first, and each answer is told as what it is. Before SIGQUIT is sent to anything, it is
known to be HotSpot and to catch that signal: a process that does not is ended by it.

Sources: src/hotspot/os/posix/attachListener_posix.cpp (os/linux/attachListener_linux.cpp until JDK 17),
src/hotspot/share/services/attachListener.cpp, jdk.attach/linux/classes/sun/tools/attach/VirtualMachineImpl.java.
"""

import os
import select
import signal
import socket
import time
from errno import ECONNREFUSED, ENOENT
from types import TracebackType
from typing import Self

from msgspec import Struct

from pellucid.kernel import namespaces, procfs
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted, NotUnderstood, Unanswered, os_words
from pellucid.model.silence import Silence
from pellucid.runtimes.jvm.recognise import Jvm, catches_quit, recognise
from pellucid.runtimes.jvm.silence import Watched

LIMIT_S = 10.0
"""For the socket to appear, and for an answer to come: a JVM that can't bring its threads to a safepoint never answers."""
MAX_ANSWER = 1 << 28
MAX_ARGUMENT = 1024
"""Bytes of one argument, and of the command's name 16 (AttachOperation::arg_length_max, name_length_max)."""
_POLL_S = 0.002
_LOOK_S = 0.75
"""As often a JVM that does not answer is looked at from outside."""
_PID_OF_LISTENER = 12  # struct ucred: pid, uid, gid


class Answer(Struct, frozen=True):
    """`code` 0 is success (though some commands report a failure in `text` alone). `took_s`: from the question to the last byte."""

    code: int
    text: str
    took_s: float


class _Patience:
    """How long an answer is waited for: `seconds` from when it was made, or until it is seen that none will come."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.seconds = seconds
        self._pid = pid
        self._began = self._looked = time.monotonic()
        self._watched: Watched | None = None
        self.silence: Silence | None = None
        self.vain = False

    def left_s(self) -> float:
        return max(0.0, self._began + self.seconds - time.monotonic())

    def waited_s(self) -> float:
        return time.monotonic() - self._began

    def ends(self) -> bool:
        """To be asked again and again while nothing comes. What lasts has to be seen twice in a row."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            if self._watched is not None:
                before, self.silence = self.silence, self._watched.look()
                same = before is not None and self.silence is not None and before.why == self.silence.why
                self.vain = same and self.silence is not None and self.silence.lasting
            self._watched = Watched(self._pid)
        return self.vain or not self.left_s()


class Attach:
    """The way to ask one JVM; each `ask()` is a connection of its own. A context manager.

    Raises what `recognise` raises; NotUnderstood where asking would harm it or can't succeed; NotPermitted; Partial when it does not
    answer in time.
    """

    def __init__(self, pid: int, command: str = "stacks", limit_s: float = LIMIT_S) -> None:
        self.pid = pid
        self.command = command
        self.limit_s = limit_s
        self._tried = f"ask the JVM in pid {pid}"
        try:
            self._pidfd = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError) as error:  # a number that no pid_t holds
            raise NoSuchProcess.missing(pid) from error
        except OSError as error:
            raise procfs.failed(pid, f"look at pid {pid}", error, command) from error
        try:
            self.jvm: Jvm = recognise(pid, command)
            self.process = procfs.process(pid)
            self._gid = int(procfs.status(pid)["Gid"].split()[1])
            self._number = namespaces.ns_pids(pid)[-1]
            self._path = f"/proc/{pid}/root/tmp/.java_pid{self._number}"
            self._guard()
        except BaseException:
            os.close(self._pidfd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _guard(self) -> None:
        """Everything that would make a question harmful or vain, before one is asked."""
        pid = self.pid
        if self.jvm.kind != "HotSpot":
            raise self._vain(
                f"it is {self.jvm.kind}, whose attach protocol is another one",
                f"kill -QUIT {pid}  (it writes a javacore file into its directory)",
            )
        if self.process.state in {"stopped", "traced"}:
            raise self._vain(
                "it is stopped, and a stopped JVM answers nothing",
                f"kill -CONT {pid}" if self.process.state == "stopped" else f"pellucid why {pid}  (who traces it)",
            )
        if "+DisableAttachMechanism" in self.jvm.flags(pid):
            raise self._vain(
                "it was started with -XX:+DisableAttachMechanism: it would print its stacks on its own stdout instead",
                f"pellucid gc {pid}  (its counters need no attaching)",
            )

    def ask(self, name: str, *arguments: str, limit_s: float | None = None) -> Answer:
        """What the JVM says to the command `name`: `threaddump`, `inspectheap`, `dumpheap`, `jcmd`, `properties`, ..."""
        words = [name, *arguments, *[""] * (3 - len(arguments))]
        if len(words) > 4 or any(len(word.encode()) > MAX_ARGUMENT or "\0" in word for word in words):
            raise ValueError(words)
        patience = _Patience(self.pid, self.limit_s if limit_s is None else limit_s)
        began = time.monotonic()
        with self._connected(patience) as connection:
            connection.setblocking(False)
            self._send(connection, b"1\0" + b"".join(word.encode() + b"\0" for word in words), patience)
            code, _, body = self._receive(connection, patience, name).partition(b"\n")
        try:
            number = int(code)
        except ValueError:
            raise self._vain(
                f"its answer begins with {code[:40]!r}, not with a number", f"pellucid why {self.pid}"
            ) from None
        return Answer(number, body.decode("utf-8", "replace"), time.monotonic() - began)

    def _connected(self, patience: _Patience) -> socket.socket:
        """A connection to the JVM itself; the first one of its life needs the handshake."""
        found = self._connect(patience)
        if found is None:
            self._handshake(patience)
            found = self._connect(patience)
        if found is None:
            raise self._silent("opened its socket and closed it again", patience)
        owner = int.from_bytes(found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PID_OF_LISTENER)[:4], "little")
        if owner not in (self.pid, 0):  # 0: a process that is in no pid namespace of ours
            found.close()
            raise self._vain(f"pid {owner} listens on its socket {self._path}", f"pellucid info {owner}")
        return found

    def _connect(self, patience: _Patience) -> socket.socket | None:
        """None where nobody listens. The JVM serves its own user, and since JDK 9 root too: a root becomes that user for the call."""
        if os.geteuid() == 0 and self.process.uid != 0:
            found = _connect_as(self._path, self.process.uid, self._gid)
            if found is not None:
                return found
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            one.settimeout(max(patience.left_s(), _POLL_S))
            one.connect(self._path)
        except OSError as error:
            one.close()
            if error.errno in (ENOENT, ECONNREFUSED):
                return None
            if isinstance(error, TimeoutError):
                raise self._silent("did not take the connection", patience) from error
            raise self._refused(f"connect to {self._path}", error) from error
        return one

    def _handshake(self, patience: _Patience) -> None:
        """Make it listen: the file says that SIGQUIT means us, and not the wish for stacks on stdout."""
        if not catches_quit(self.pid):
            raise self._vain(
                "it does not catch SIGQUIT (it was started with -Xrs, or is only just starting), and that signal would end it",
                f"pellucid gc {self.pid}  (its counters need no attaching)",
            )
        mark = self._mark()
        try:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGQUIT)
            except OSError as error:
                raise self._refused(f"send SIGQUIT to pid {self.pid}", error) from error
            while not self._listens(patience):
                if self._ended():
                    raise NoSuchProcess.ended(self.pid, self._tried)
                if patience.ends():
                    raise self._silent("did not open its socket", patience)
                time.sleep(_POLL_S)
        finally:
            _unlink(mark)

    def _listens(self, patience: _Patience) -> bool:
        found = self._connect(patience)
        if found is None:
            return False
        found.close()
        return True

    def _mark(self) -> str:
        """The file that it looks for, in its /tmp or else in its working directory; it has to belong to its user."""
        failure: OSError | None = None
        for place in (f"/proc/{self.pid}/root/tmp", f"/proc/{self.pid}/cwd"):
            path = f"{place}/.attach_pid{self._number}"
            try:
                _unlink(path)  # one that was left behind; never is a file opened that somebody else has put there
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except OSError as error:
                failure = failure or error
                continue
            try:
                if os.geteuid() == 0:
                    os.fchown(fd, self.process.uid, self._gid)
            finally:
                os.close(fd)
            return path
        assert failure is not None
        raise self._refused(f"make a file in the /tmp of pid {self.pid}", failure) from failure

    def _send(self, connection: socket.socket, question: bytes, patience: _Patience) -> None:
        while question:
            self._await(connection, select.POLLOUT, patience, "take the question")
            try:
                question = question[connection.send(question) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._refused("send the question", error) from error

    def _receive(self, connection: socket.socket, patience: _Patience, name: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size < MAX_ANSWER:
            self._await(connection, select.POLLIN, patience, f"answer {name}")
            try:
                part = connection.recv(1 << 20)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                part = b""
            if not part:
                break
            parts.append(part)
            size += len(part)
        if not parts:
            if self._ended():
                raise NoSuchProcess.ended(self.pid, self._tried)
            raise NotPermitted(
                self.pid,
                tried=self._tried,
                said=f"it closed the connection without a word: it serves only its own user, {self.process.user}",
                remedy=f"sudo -u {self.process.user} pellucid {self.command} {self.pid}",
            )
        return b"".join(parts)

    def _await(self, connection: socket.socket, wish: int, patience: _Patience, what: str) -> None:
        """Until the connection is ready. The end of the process and of our patience end it too."""
        waiting = select.poll()
        waiting.register(connection, wish)
        waiting.register(self._pidfd, select.POLLIN)
        while True:
            ready = dict(waiting.poll(min(patience.left_s(), _LOOK_S) * 1000))
            if connection.fileno() in ready:
                return
            if self._pidfd in ready:
                raise NoSuchProcess.ended(self.pid, self._tried)
            if patience.ends():
                raise self._silent(f"did not {what}", patience)

    def _ended(self) -> bool:
        return bool(select.select([self._pidfd], [], [], 0)[0])

    def _silent(self, what: str, patience: _Patience) -> Unanswered:
        silence = patience.silence
        why = (
            silence.sentence
            if silence is not None
            else "it is stopped, starved of CPU, or some thread of it reaches no safepoint"
        )
        return Unanswered(
            self.pid,
            tried=self._tried,
            said=f"it {what} within {min(patience.waited_s(), patience.seconds):.1f} s: {why}",
            remedy=f"pellucid gc {self.pid}  (its counters need no answer)"
            if silence is None or silence.why != "stopped"
            else f"kill -CONT {self.pid}",
            silence=silence,
        )

    def _vain(self, said: str, remedy: str) -> NotUnderstood:
        return NotUnderstood(self.pid, tried=self._tried, said=said, remedy=remedy, found=self.jvm.name)

    def _refused(self, tried: str, error: OSError) -> LookError:
        if isinstance(error, PermissionError):
            return NotPermitted(
                self.pid,
                tried=tried,
                said=f"{os_words(error)}: the JVM runs as {self.process.user} (uid {self.process.uid}) and serves only that user and root",
                remedy=f"sudo pellucid {self.command} {self.pid}",
                errno=error.errno or 0,
            )
        return procfs.failed(self.pid, tried, error, self.command)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # the JVM, or its end, has taken it away
    except OSError as error:
        if not procfs.gone(error):
            raise


def _connect_as(path: str, uid: int, gid: int) -> socket.socket | None:
    """A connection made by a child of ours that has become user `uid`: SO_PEERCRED tells who called connect(2). None where that failed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(5)
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
                    one.connect(path)
                    socket.send_fds(theirs, [b"+"], [one.fileno()])
            finally:
                os._exit(0)
        theirs.close()
        try:
            ours.settimeout(6)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        except OSError:
            descriptors = []
        finally:
            os.waitpid(child, 0)
    return socket.socket(fileno=descriptors[0]) if descriptors else None
