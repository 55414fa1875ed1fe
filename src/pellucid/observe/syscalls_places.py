"""What kind of place a path is, by its name alone: a cache, a configuration file, a temporary one, ...

The rules are few and in this order: what the kernel makes (/dev, /proc), caches, logs, libraries, Python's modules, temporary
files, configuration, certificates; the rest is data. A cache below /tmp is a cache.
"""

_CACHE_PARTS: tuple[str, ...] = (
    "/.cache/",
    "/__pycache__/",
    "/var/cache/",
    "/_cacache/",
    "/pkgs/cache/",
    "/.mypy_cache/",
    "/.ruff_cache/",
)
_CACHE_PARTS += ("/.pytest_cache/", "/.npm/", "/.cargo/registry/", "/go/pkg/mod/")
_LIBRARIES = ("/lib/", "/usr/lib/", "/lib64/", "/usr/lib64/", "/usr/local/lib/")
_CONFIG_ENDS = (".conf", ".cfg", ".ini", ".toml", ".rc", ".cnf", ".properties", ".pth", ".env")
_CONFIG_FILES = (
    ".netrc .condarc .gitconfig .npmrc .pypirc .bashrc .profile .bash_profile .zshrc .curlrc .wgetrc .inputrc .editorconfig "
    "pyvenv.cfg config.yaml config.yml config.json settings.json settings.yaml settings.yml"
)
_CONFIG_NAMES = frozenset(_CONFIG_FILES.split())
_CONFIG_PARTS = ("/.config/", "/etc/", "/.ssh/", "/.aws/", "/.kube/", "/.pip/")
_TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/")

PLACES = (
    "data", "config", "cache", "temporary", "log", "python", "library", "certificates", "device", "kernel", "directory"
)  # fmt: skip
"""All words that `place` gives, and `directory`; in the order in which a report tells them."""


def place(path: str) -> str:
    """One of `PLACES` for an absolute path (or what stands for one: `pipe:[3]` is data)."""
    name = path.rpartition("/")[2]
    if path.startswith(("/dev/shm/", "/proc/", "/sys/", "/dev/")):
        return "temporary" if path.startswith("/dev/shm/") else "device" if path.startswith("/dev/") else "kernel"
    if any(part in path for part in _CACHE_PARTS) or name.endswith((".pyc", "ld.so.cache")):
        return "cache"
    if path.startswith("/var/log/") or name.endswith(".log"):
        return "log"
    if "/certs/" in path or name.endswith((".pem", ".crt")):
        return "certificates"
    if name.endswith((".py", ".pyi")) or "/site-packages/" in path or "/dist-packages/" in path:
        return "python"
    if name.endswith(".so") or ".so." in name or _in_system_library(path):
        return "python" if "/lib/python" in path else "library"
    if path.startswith(_TEMPORARY):
        return "temporary"
    if name.endswith(_CONFIG_ENDS) or name in _CONFIG_NAMES or any(part in path for part in _CONFIG_PARTS):
        return "config"
    return "data"


def _in_system_library(path: str) -> bool:
    return path.startswith(_LIBRARIES)
