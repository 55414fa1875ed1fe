"""One version of a model as one file, to carry it to another machine: a tar with MANIFEST.json and the members, in this order.

It is read without unpacking it to the disk: names are compared with those of the manifest, every hash is checked, and nothing is read that is not
there as it is (a tar that is compressed, or has holes, could be far larger than its file). What would run code at its load is refused without consent:
a pickle, and the source of classes of its own, of which skops makes objects.
"""

import io
import os
import tarfile
from collections.abc import Mapping
from shlex import quote
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from pellucid.model.errors import UsageError, os_words
from pellucid.serve import durable, pickles
from pellucid.serve.foreign import Wishes
from pellucid.serve.manifest import PICKLE, PICKLED, Manifest
from pellucid.serve.store import Store, check_name

SUFFIX = ".pellucid-model"
MANIFEST = "MANIFEST.json"
MOST_MANIFEST = 16 << 20


def export(store: Store, manifest: Manifest, path: str) -> None:
    """Write the bundle, whole or not at all. UsageError where a member is damaged or the disk refuses."""
    durable.write(os.path.abspath(path), packed(store, manifest))


def packed(store: Store, manifest: Manifest) -> bytes:
    """The bundle. UsageError where a member is damaged."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1), manifest.created_at)
        for member in manifest.members:
            _add(archive, member.path, store.read(manifest, member.path), manifest.created_at)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, at: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(at), 0o644
    archive.addfile(entry, io.BytesIO(content))


def read(path: str) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the members of a bundle. UsageError where it is none, or damaged."""
    try:
        with open(path, "rb") as file:
            return unpacked(file, path)
    except OSError as error:
        raise UsageError(tried=f"read {path}", said=os_words(error), remedy="name a file that may be read") from error


def unpacked(file: BinaryIO, path: str) -> tuple[Manifest, dict[str, bytes]]:
    """The same of an open file, which came from `path`. UsageError, OSError."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or not 0 < first.size <= MOST_MANIFEST:
                raise _damaged(path, f"it does not begin with {MANIFEST}")
            manifest = msgspec.json.decode(_content(archive, first), type=Manifest)
            sizes = {member.path: member.size for member in manifest.members}
            for name in sizes:
                if not name.isprintable() or name.startswith("/") or ".." in name.split("/"):
                    raise _damaged(path, f"{name!r} is no name of a member")
            members: dict[str, bytes] = {}
            while (entry := archive.next()) is not None:
                if sizes.get(entry.name) != entry.size or entry.type != tarfile.REGTYPE or entry.issparse():
                    raise _damaged(path, f"{entry.name!r} is not what its manifest names")
                members[entry.name] = _content(archive, entry)
    except (tarfile.TarError, msgspec.DecodeError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    check_name(manifest.name)
    _check(path, manifest, members)
    return manifest, members


class Carried:
    """A bundle in memory, from which a model is loaded as from a store (`package.Shelf`)."""

    def __init__(self, content: bytes, origin: str) -> None:
        self.manifest, self._members = unpacked(io.BytesIO(content), origin)

    def read(self, manifest: Manifest, path: str) -> bytes:
        """UsageError where it has no such member; their hashes were compared when it was unpacked."""
        try:
            return self._members[path]
        except KeyError:
            raise _damaged(f"{manifest.name} version {manifest.version}", f"it has no member {path}") from None


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    return file.read() if file is not None else b""


def _check(path: str, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    import hashlib

    for member in manifest.members:
        if member.path not in members:
            raise _damaged(path, f"its member {member.path} is missing")
        found = hashlib.sha256(members[member.path]).hexdigest()
        if found != member.sha256:
            raise _damaged(
                path, f"its member {member.path} has sha256:{found}, the manifest says sha256:{member.sha256}"
            )


def _damaged(path: str, said: str) -> UsageError:
    return UsageError(
        tried=f"read the model in {path}", said=said, remedy="pellucid models export NAME -o FILE  (makes such a file)"
    )


def bring_in(store: Store, path: str, wishes: Wishes) -> tuple[Manifest, bool]:
    """Store a bundle as the next version of its name. (the version, whether it is new: the same content is stored once)."""
    manifest, members = read(path)
    _consent(path, manifest, members, wishes)
    manifest = replace(
        manifest, name=wishes.name or manifest.name, origin=f"{path} ({manifest.name} version {manifest.version} there)"
    )
    there = store.same(manifest, members)
    if there is not None:
        return there, False
    return store.register(manifest, members, wishes.alias), True


def _consent(path: str, manifest: Manifest, members: Mapping[str, bytes], wishes: Wishes) -> None:
    """UsageError where loading it would run code that nobody has agreed to."""
    if manifest.format in PICKLED:
        if wishes.allow_pickle:
            return
        seen = pickles.preflight(members[PICKLE])
        raise UsageError(
            tried=f"import {path}",
            said=f"its model is a pickle that would import {', '.join(map(str, seen.globals[:20]))}",
            remedy="--allow-pickle  (if you trust where it comes from)",
        )
    code = manifest.code()
    if code and not wishes.allow_code:
        told = ", ".join(f"{one.path} ({len(members[one.path].splitlines())} lines)" for one in code)
        raise UsageError(
            tried=f"import {path}",
            said=f"its model has classes of its own, whose code would run: {told}",
            remedy=f"--allow-code  (if you trust where it comes from; tar -xOf {quote(path)} {quote(code[0].path)} shows it)",
        )
