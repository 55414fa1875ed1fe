"""The model's own classes, kept by value: their source lies in the package and is imported from there, under a name made from its hash.

A class is stored by skops under its module's name. If that were `preprocessing`, a model would load whatever `preprocessing` is importable at
that moment, or nothing. As `pellucid_model_3fa9….preprocessing` it can only be the source that it was trained with, and two versions of
it live in one process. Training imports the same way, so the name is right from the start.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

PREFIX = "pellucid_model_"


def package_of(sources: Mapping[str, str]) -> str:
    """`pellucid_model_3fa9…`: the name of the package made of `sources`, file name → text."""
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return PREFIX + digest.hexdigest()[:16]


def bring_to_life(sources: Mapping[str, str], label: str) -> str:
    """Make `sources` importable in this process and return their package's name. In stacks a file shows as `LABEL.model/file.py`.

    Nothing of them runs until one is imported.
    """
    package = package_of(sources)
    if not any(isinstance(finder, _Finder) and finder.package == package for finder in sys.meta_path):
        sys.meta_path.append(_Finder(package, sources, label))
    return package


def by_their_own_names(sources: Mapping[str, str], label: str) -> None:
    """Make `sources`, path → text (`preprocessing.py`, `own/steps.py`), importable as a pickle names them: before anything else of that name."""
    if sources and not any(isinstance(finder, _Plain) and finder.sources == sources for finder in sys.meta_path):
        sys.meta_path.insert(0, _Plain(sources, label))


class _Finder(MetaPathFinder, InspectLoader):
    """`package` itself has no source; every module in it has."""

    def __init__(self, package: str, sources: Mapping[str, str], label: str) -> None:
        self.package = package
        self.label = label
        self.modules = {f"{package}.{name.removesuffix('.py')}": (name, text) for name, text in sources.items()}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if self.is_package(fullname):
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        if fullname in self.modules:
            return importlib.util.spec_from_loader(fullname, self, origin=self._file(fullname))
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__spec__.name if module.__spec__ else module.__name__
        if name in self.modules:
            exec(self.get_code(name), module.__dict__)  # the manifest named this source by its hash

    def is_package(self, fullname: str) -> bool:
        return fullname == self.package

    def get_source(self, fullname: str) -> str:
        """Also what linecache prints in a traceback."""
        return self.modules[fullname][1] if fullname in self.modules else ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), self._file(fullname), "exec", dont_inherit=True)

    def _file(self, fullname: str) -> str:
        return f"{self.label}.model/{self.modules[fullname][0]}" if fullname in self.modules else fullname


class _Plain(_Finder):
    """Modules under the names that their paths spell, and the packages above them."""

    def __init__(self, sources: Mapping[str, str], label: str) -> None:
        super().__init__("", {}, label)
        self.sources = dict(sources)
        self.packages: set[str] = set()
        for path, text in sources.items():
            parts = path.removesuffix(".py").split("/")
            if parts[-1] == "__init__":
                parts.pop()
                self.packages.add(".".join(parts))
            self.modules[".".join(parts)] = (path, text)
            self.packages |= {".".join(parts[:count]) for count in range(1, len(parts))}

    def is_package(self, fullname: str) -> bool:
        return fullname in self.packages
