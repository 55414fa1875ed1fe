r"""The store of models: a folder of content by hash, and small files that name it. No database.

    models/objects/ab/ab12…                    the bytes of a member, named by their SHA-256
    models/registry/loan/1.json                the manifest of version 1
    models/registry/loan/aliases/production    "3\n1\n": version 3 now, before that version 1

Objects are written before the manifest that names them, and the manifest before the alias: whatever is interrupted, what can be found is
whole. Bytes are hashed again whenever they are read. What a killed registration had begun to write the next one removes (`durable.sweep`).
"""

import hashlib
import os
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pellucid import home
from pellucid.model.errors import UsageError, os_words
from pellucid.serve import durable
from pellucid.serve.manifest import Manifest, Member

LATEST = "latest"
PRODUCTION = "production"
"""What a bare name means once something was promoted to it."""
KEPT_HISTORY = 100

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class Listed(Struct, frozen=True):
    """One version with the aliases that point at it."""

    manifest: Manifest
    aliases: tuple[str, ...]


class Store:
    """`root` is the folder of models; it need not exist until something is registered."""

    def __init__(self, root: str | None = None) -> None:
        self.root = root or home.models()

    def register(self, manifest: Manifest, members: Mapping[str, bytes], alias: str = LATEST) -> Manifest:
        """Store the members and the manifest as the next version of its name, point `alias` at it, and return it as stored."""
        check_name(manifest.name)
        named = tuple(self._put(path, content) for path, content in sorted(members.items()))
        folder = self._folder(manifest.name)
        with durable.locked(folder):
            self._sweep(folder)
            version = max(self._versions(manifest.name), default=0) + 1
            stored = replace(manifest, version=version, members=named)
            encoded = msgspec.json.format(msgspec.json.encode(stored), indent=1)
            durable.write(os.path.join(folder, f"{version}.json"), encoded)
            self._point(manifest.name, alias, [version, *self._history(manifest.name, alias)])
        return stored

    def _sweep(self, folder: str) -> None:
        """What registrations that were killed have left, here and among the objects of all models."""
        objects = os.path.join(self.root, "objects")
        for place in (
            folder,
            os.path.join(folder, "aliases"),
            *(os.path.join(objects, each) for each in _entries(objects)),
        ):
            durable.sweep(place)

    def promote(self, name: str, version: int, alias: str = PRODUCTION) -> int | None:
        """Point `alias` at a version, in one step. Returns the version that it pointed at before."""
        check_name(alias)
        self.resolve(f"{name}:{version}")
        with durable.locked(self._folder(name)):
            before = self._history(name, alias)
            if before[:1] != [version]:
                self._point(name, alias, [version, *before])
        return before[0] if before else None

    def rollback(self, name: str, alias: str = PRODUCTION) -> tuple[int, int]:
        """Point `alias` at what it pointed at before; returns (now, before). UsageError where there is nothing to go back to."""
        check_name(alias)
        with durable.locked(self._folder(name)):
            now, *before = self._history(name, alias) or [self._pointed_at(name, alias)]
            if not before:
                raise UsageError(
                    tried=f"roll {name}@{alias} back",
                    said=f"it has only ever pointed at version {now}",
                    remedy=f"pellucid models promote {name}:VERSION --alias {alias}",
                )
            self.resolve(f"{name}:{before[0]}")
            self._point(name, alias, before)
        return before[0], now

    def _history(self, name: str, alias: str) -> list[int]:
        """Versions that the alias pointed at, the present one first; empty where there is no such alias."""
        try:
            with open(os.path.join(self._folder(name), "aliases", alias), encoding="ascii") as file:
                return [int(line) for line in file.read().split()]
        except (FileNotFoundError, ValueError):
            return []

    def _point(self, name: str, alias: str, history: list[int]) -> None:
        """The file with its history is replaced as a whole: there is no moment between two versions."""
        content = "".join(f"{version}\n" for version in history[:KEPT_HISTORY])
        durable.write(os.path.join(self._folder(name), "aliases", alias), content.encode())

    def same(self, manifest: Manifest, members: Mapping[str, bytes]) -> Manifest | None:
        """A version of this name with the very same members, if there is one."""
        hashes = {path: hashlib.sha256(content).hexdigest() for path, content in members.items()}
        for listed in self.versions(manifest.name):
            if {member.path: member.sha256 for member in listed.manifest.members} == hashes:
                return listed.manifest
        return None

    def _put(self, path: str, content: bytes) -> Member:
        sha256 = hashlib.sha256(content).hexdigest()
        place = self._object(sha256)
        if not _holds(place, sha256):
            durable.write(place, content)
        return Member(path=path, sha256=sha256, size=len(content))

    def resolve(self, wanted: str) -> Manifest:
        """The manifest that `loan`, `loan:3` or `loan@latest` names. UsageError says what there is instead."""
        name, version, alias = _parse(wanted)
        if not self._versions(name):
            raise self._no_such_model(name)
        if version is None:
            version = self._pointed_at(name, alias or self.default_alias(name))
        path = os.path.join(self._folder(name), f"{version}.json")
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=Manifest)
        except FileNotFoundError:
            there = ", ".join(map(str, sorted(self._versions(name))))
            raise UsageError(
                tried=f"use version {version} of model {name!r}",
                said=f"it has no such version, only {there}",
                remedy=f"pellucid models show {name}",
            ) from None
        except OSError as error:
            raise _unreadable(path, error) from error
        except msgspec.DecodeError as error:
            raise UsageError(
                tried=f"read the manifest of {name} version {version}, {path}",
                said=f"it is damaged: {error}",
                remedy=f"train or register {name} anew; the other versions stay as they are (pellucid models)",
            ) from error

    def default_alias(self, name: str) -> str:
        """The alias that a bare name means: `production` where something was promoted to it, else `latest`."""
        return PRODUCTION if self._history(name, PRODUCTION) else LATEST

    def read(self, manifest: Manifest, path: str) -> bytes:
        """The bytes of one member, hashed anew. UsageError names the member and both hashes where they differ."""
        return self._verified(manifest, manifest.member(path))

    def verify(self, manifest: Manifest) -> None:
        """Read and hash every member."""
        for member in manifest.members:
            self._verified(manifest, member)

    def _verified(self, manifest: Manifest, member: Member) -> bytes:
        place = self._object(member.sha256)
        what = f"{manifest.name} version {manifest.version}, member {member.path}"
        try:
            with open(place, "rb") as file:
                content = file.read()
        except OSError as error:
            raise UsageError(
                tried=f"load {what}",
                said=f"its content sha256:{member.sha256} can't be read: {os_words(error)} ({place})",
                remedy=_anew(manifest),
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != member.sha256:
            raise UsageError(
                tried=f"load {what}",
                said=f"it is corrupted: sha256:{member.sha256} was stored, sha256:{found} is there ({place})",
                remedy=_anew(manifest),
            )
        return content

    def listed(self) -> tuple[Listed, ...]:
        """Every version of every model, by name, newest first. UsageError where a manifest is damaged."""
        names = _entries(os.path.join(self.root, "registry"))
        return tuple(listed for name in sorted(names) for listed in self.versions(name))

    def versions(self, name: str) -> tuple[Listed, ...]:
        """The versions of one model, newest first; empty where there is no such model."""
        aliases: dict[int, list[str]] = {}
        for alias in sorted(_entries(os.path.join(self._folder(name), "aliases"))):
            aliases.setdefault(self._pointed_at(name, alias), []).append(alias)
        return tuple(
            Listed(manifest=self.resolve(f"{name}:{version}"), aliases=tuple(aliases.get(version, ())))
            for version in sorted(self._versions(name), reverse=True)
        )

    def _versions(self, name: str) -> set[int]:
        stems = (entry.removesuffix(".json") for entry in _entries(self._folder(name)) if entry.endswith(".json"))
        return {int(stem) for stem in stems if stem.isdecimal()}

    def _pointed_at(self, name: str, alias: str) -> int:
        path = os.path.join(self._folder(name), "aliases", alias)
        try:
            with open(path, encoding="ascii") as file:
                return int(file.read().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            there = ", ".join(sorted(_entries(os.path.dirname(path)))) or "none"
            raise UsageError(
                tried=f"use {name}@{alias}",
                said=f"model {name!r} has no such alias, only {there}",
                remedy=f"pellucid models show {name}",
            ) from None

    def _no_such_model(self, name: str) -> UsageError:
        there = sorted(entry for entry in _entries(os.path.join(self.root, "registry")) if self._versions(entry))
        return UsageError(
            tried=f"use the model {name!r}",
            said=f"there is no such model in {self.root}, "
            + (f"only {', '.join(there)}" if there else "which is empty"),
            remedy=f"pellucid train {name}"
            if name == "loan"
            else "pellucid models  (lists them; pellucid train loan makes the example)",
        )

    def _folder(self, name: str) -> str:
        return os.path.join(self.root, "registry", name)

    def _object(self, sha256: str) -> str:
        return os.path.join(self.root, "objects", sha256[:2], sha256)


def _holds(place: str, sha256: str) -> bool:
    """The object is there and whole; a damaged one is written anew by whoever registers the same content."""
    try:
        with open(place, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def check_name(name: str) -> None:
    """UsageError where a model can't be named so (its name is a folder and a part of addresses)."""
    if not name or name.startswith((".", "-")) or not set(name) <= _NAME or len(name) > 100:
        raise UsageError(
            tried=f"use {name!r} as the name of a model",
            said="a name is made of letters, digits, '_', '-' and '.', and begins with a letter, a digit or '_'",
            remedy="choose another name",
        )


def _parse(wanted: str) -> tuple[str, int | None, str]:
    name, at, alias = wanted.partition("@")
    name, colon, version = name.partition(":")
    check_name(name)
    if colon and (at or not version.isdecimal()):
        raise UsageError(
            tried=f"use the model {wanted!r}",
            said="a model is named as NAME, NAME:VERSION (a number) or NAME@ALIAS",
            remedy=f"pellucid models show {name}",
        )
    if at:
        check_name(alias)
    return name, int(version) if colon else None, alias


def _entries(folder: str) -> list[str]:
    """The names in a folder, without hidden ones; empty where it is not there."""
    try:
        return [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: str, error: OSError) -> UsageError:
    return UsageError(
        tried=f"read {path}", said=os_words(error), remedy="run as the user who owns it, or set XDG_DATA_HOME"
    )


def _anew(manifest: Manifest) -> str:
    if manifest.version > 1:
        return f"pellucid models show {manifest.name}  (another version can be served as {manifest.name}:{manifest.version - 1})"
    return f"pellucid train {manifest.name}  (stores a new version)"
