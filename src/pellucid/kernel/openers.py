"""Who has one file open, whatever name it was opened by: descriptors, working and root directories, executables, mappings.

The links /proc/PID/fd/N are read first, which asks nobody. What may be the file is then compared by the inode and the mount that
/proc/PID/fdinfo/N tells, which asks nobody either. stat(2) through such a link can't be used for that: on its way to the file the
kernel asks the server of an NFS mount whether the name is still good (fs/namei.c, complete_walk, d_weak_revalidate), and hangs with it.

A file has one name unless its link count says otherwise, so a link may be it when the last part of its name is the same; or is
that of a mount point (a file or directory may be mounted elsewhere under any name); or is marked as deleted, since the file may
have been opened by a name that it no longer has.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from stat import S_ISDIR, S_ISREG

from msgspec import Struct

from pellucid.kernel import bounded, fds, procfs
from pellucid.kernel.bounded import Answer
from pellucid.kernel.procfs import gone
from pellucid.kernel.shared_search import shared

DELETED = " (deleted)"
_PLACES = ("cwd", "root", "exe")
_MAX_MOUNTS = 1 << 24
_MAX_MAPS, _MAPS_PIECE = 1 << 28, 1 << 14
_SHARED_NUMBERS = ("btrfs", "bcachefs")
"""Subvolumes of one device each have an inode 300: only stat(2) tells them apart."""


class Opened(Struct, frozen=True):
    """`place` is `fd/3`, `cwd`, `root`, `exe`, or `map_files/7f00-8f00`; `link` what it is a link to."""

    pid: int
    place: str
    link: str

    @property
    def path(self) -> str:
        return f"/proc/{self.pid}/{self.place}"

    @property
    def fd(self) -> int | None:
        return int(self.place[3:]) if self.place.startswith("fd/") else None


class Openers(Struct, frozen=True):
    """`unsure`: it may be the file, and its file system does not answer. `hidden`: processes that may not be looked into."""

    found: tuple[Opened, ...]
    unsure: tuple[Opened, ...]
    hidden: tuple[tuple[int, OSError], ...]


def of(file: Answer) -> Openers:
    """Everything that has the file open that `bounded.ask` has answered for. Mappings are searched for regular files only."""
    tables = _Tables()
    parts = shared(lambda pids: _part(file, tables, pids), procfs.pids(), _Part)
    found = [one for part in parts for one in part.found]
    ask = [one for part in parts for one in part.ask]
    answers = bounded.ask([one.path for one in ask])
    unsure = [one for one in ask if one.path not in answers]
    found += (one for one in ask if _is(answers.get(one.path), file))
    hidden = {pid: OSError(number, os.strerror(number)) for part in parts for pid, number in part.hidden}
    return Openers(tuple(sorted(found, key=_order)), tuple(unsure), tuple(sorted(hidden.items())))


class _Part(Struct, frozen=True):
    """Of some processes: who has the file, who may have it and has to be asked, and who hides it, with the number of the error."""

    found: tuple[Opened, ...]
    ask: tuple[Opened, ...]
    hidden: tuple[tuple[int, int], ...]


def _part(file: Answer, tables: "_Tables", pids: Sequence[int]) -> _Part:
    hidden: list[tuple[int, OSError]] = []
    found: list[Opened] = []
    ask: list[Opened] = []
    places = ("cwd", "root") if S_ISDIR(file.mode) else ()  # an executable is among the mappings
    for opened in _links(_alike(file, tables), hidden, pids, places, tables.known):
        if not file.name.startswith("/"):
            found.append(opened)  # pipe:[41] is all its identity
            continue
        same = tables.compared(opened, file) if opened.fd is not None else None
        if same is None:
            ask.append(opened)
        elif same:
            found.append(opened)
    if S_ISREG(file.mode):
        found += _mappings(file, tables, hidden, pids)
    return _Part(tuple(found), tuple(ask), tuple((pid, error.errno or 0) for pid, error in hidden))


def once_named(path: str) -> Openers:
    """Those who have a deleted file open that had this (absolute) name: there is no file to compare them with."""
    hidden: list[tuple[int, OSError]] = []
    link = path + DELETED
    found = list(_links(lambda target: target == link, hidden, procfs.pids()))
    return Openers(tuple(sorted(found, key=_order)), (), tuple(hidden))


def deleted(pids: tuple[int, ...]) -> Openers:
    """Every link of these processes that ends in ` (deleted)`."""
    hidden: list[tuple[int, OSError]] = []
    found = list(_links(lambda target: target.endswith(DELETED), hidden, pids))
    return Openers(tuple(found), (), tuple(hidden))


def _order(one: Opened) -> tuple[int, bool, int, str]:
    return one.pid, one.fd is not None, one.fd or 0, one.place


def _is(answer: Answer | None, file: Answer) -> bool:
    return answer is not None and not answer.errno and (answer.device, answer.inode) == (file.device, file.inode)


def _links(
    alike: Callable[[str], bool],
    hidden: list[tuple[int, OSError]],
    pids: Sequence[int],
    places: tuple[str, ...] = _PLACES,
    known_to: Callable[[int], dict[str, bool]] | None = None,
) -> Iterator[Opened]:
    """Every link that may be the file, of these processes: one readlink for each descriptor and place.

    `known_to`: what is known of the links of a process by their texts, since most are those of many; it learns here.
    """
    readlink = os.readlink
    known: dict[str, bool] = {}
    for pid in pids:
        if known_to is not None:
            known = known_to(pid)
        try:
            directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if not gone(error):
                hidden.append((pid, error))
            continue
        try:
            for name in os.listdir(directory):
                try:
                    target = readlink(name, dir_fd=directory)
                except FileNotFoundError:  # closed meanwhile
                    continue
                may_be = known.get(target)
                if may_be is None:
                    may_be = known[target] = alike(target)
                if may_be:
                    yield Opened(pid, f"fd/{name}", target)
            for place in places:
                target = readlink(f"../{place}", dir_fd=directory)
                if alike(target):
                    yield Opened(pid, place, target)
        except OSError as error:  # ENOENT also of a kernel thread, which has no executable
            if not gone(error):
                hidden.append((pid, error))
        finally:
            os.close(directory)


def _alike(file: Answer, tables: "_Tables") -> Callable[[str], bool]:
    """Whether a link may be the file, by its text alone."""
    if not file.name.startswith("/"):
        return file.name.__eq__
    if not S_ISDIR(file.mode) and file.links != 1:  # other names lie on the same file system, anywhere
        device = tables.ours[file.mount].device if file.mount in tables.ours else None
        return lambda target: target.startswith("/") and tables.device_of(target) in (device, None)
    directory = S_ISDIR(file.mode)
    names = {file.name.rpartition("/")[2], *(point.rpartition("/")[2] for point in tables.points)}
    if not directory:
        names.discard("")  # "/" is a directory, and half of all working directories

    def one_name(target: str) -> bool:
        return target.rpartition("/")[2] in names or (not directory and target.endswith(DELETED))

    return one_name


class _Tables:
    """Mounts: those that we see, and those that each other mount namespace sees, read when one is met."""

    def __init__(self) -> None:
        text = procfs.read_file("/proc/self/mountinfo", _MAX_MOUNTS)
        self.ours = fds.mounts(text)
        self.points = _points(text)
        self._by_length = sorted(self.points, key=len, reverse=True)
        self._folders: dict[str, str | None] = {}
        self._theirs: dict[str, dict[int, fds.Mount]] = {}
        self._known: dict[str, dict[str, bool]] = {}
        self._known_here: dict[str, bool] = {}

    def device_of(self, link: str) -> str | None:
        """The device of the mount that a name lies on, as we see mounts; None where nothing of ours is above it."""
        folder = link.rpartition("/")[0]
        known = self._folders.get(folder, "")
        if known == "":
            point = next((one for one in self._by_length if one == "/" or f"{folder}/".startswith(f"{one}/")), None)
            known = self._folders[folder] = self.points[point] if point is not None else None
        return known

    def known(self, pid: int) -> dict[str, bool]:
        """Whether a link may be the file, by its text, in the mount namespace of this process, which is the next one that is looked at."""
        self._known_here = self._known.setdefault(_mount_namespace(pid), {})
        return self._known_here

    def compared(self, opened: Opened, file: Answer) -> bool | None:
        """`_by_fdinfo`; of links with one text in one mount namespace, only the first that is another file is read.

        A deleted file has the text of others. Two live ones have the same only where one lies below a mount that hides it.
        """
        try:
            told = procfs.read_small(f"/proc/{opened.pid}/fdinfo/{opened.fd}", 4096)
        except OSError:  # closed meanwhile, which says nothing of the others
            return False
        same = _by_fdinfo(opened.pid, told, file, self)
        if same is False and not opened.link.endswith(DELETED):
            self._known_here[opened.link] = False
        return same

    def mount(self, pid: int, number: int) -> fds.Mount | None:
        """None for one that is in no table: it was unmounted lazily, or belongs to a namespace that is left."""
        if number in self.ours:
            return self.ours[number]
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in self._theirs:
                self._theirs[namespace] = fds.mounts(procfs.read_file(f"/proc/{pid}/mountinfo", _MAX_MOUNTS))
        except OSError:  # it ended meanwhile
            return None
        return self._theirs[namespace].get(number)


def _mount_namespace(pid: int) -> str:
    """Its name; one of its own for a process that does not tell."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return f"of pid {pid}"


def _points(text: bytes) -> dict[str, str]:
    r"""Mount points with their device; of two at one place the later one is on top. Spaces stand as \040 (proc_pid_mountinfo(5))."""
    found: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        fields = line.split(" ", 5)
        if len(fields) > 5:
            found[_unescaped(fields[4])] = fields[2]
    return found


def _unescaped(point: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        point = point.replace(code, character)
    return point


def _by_fdinfo(pid: int, text: bytes, file: Answer, tables: _Tables) -> bool | None:
    """Whether a descriptor with this fdinfo leads to the file; None where only stat(2) could tell."""
    told = procfs.parse_status(text)
    if file.file_inode is None or "ino" not in told:
        return None
    if int(told["ino"]) != file.file_inode:
        return False
    theirs, ours = tables.mount(pid, int(told["mnt_id"])), tables.ours.get(file.mount)
    if int(told["mnt_id"]) == file.mount:
        return None if ours is not None and ours.filesystem in _SHARED_NUMBERS else True
    if theirs is None or ours is None or ours.filesystem in _SHARED_NUMBERS:
        return None
    return theirs.device == ours.device


def _maps(pid: int) -> bytes:
    """/proc/PID/maps; the kernel gives some 4 kB a read, and a small buffer costs less than a large one."""
    fd = os.open(f"/proc/{pid}/maps", os.O_RDONLY)
    try:
        parts = [os.read(fd, _MAPS_PIECE)]
        for _ in range(_MAX_MAPS // _MAPS_PIECE):
            if not parts[-1]:
                break
            parts.append(os.read(fd, _MAPS_PIECE))
        return b"".join(parts)
    finally:
        os.close(fd)


def _mappings(
    file: Answer, tables: _Tables, hidden: list[tuple[int, OSError]], pids: Sequence[int]
) -> Iterator[Opened]:
    """Processes that map the file, each once: the lines of /proc/PID/maps that have its device and inode."""
    mount = tables.ours.get(file.mount)
    if mount is None or file.file_inode is None:
        return
    major, _, minor = mount.device.partition(":")
    needle = f" {int(major):02x}:{int(minor):02x} {file.file_inode} ".encode()
    refused = {pid for pid, _ in hidden}
    for pid in pids:
        if pid in refused:
            continue
        try:
            text = _maps(pid)
        except OSError as error:
            if not gone(error):
                hidden.append((pid, error))
            continue
        at = text.find(needle)
        if at >= 0:
            line = text[text.rfind(b"\n", 0, at) + 1 : text.find(b"\n", at)].decode("utf-8", "replace")
            span, _, rest = line.partition(" ")
            link = rest.split(None, 4)[4]
            yield Opened(pid, "exe" if _executable(pid) == link else f"map_files/{span}", link)


def _executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:  # it ended meanwhile
        return ""
