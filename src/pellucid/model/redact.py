"""`postgres://app:***@db/loans`, `--token ***`: what must not stand on a screen, in a file or in an incident.

Two signs give a secret away: its name (a word of it is KEY, TOKEN, PASSWORD, ...) and its shape (the password of a URL, a PEM key,
a JWT, the prefixes by which providers let their keys be found, a long string of random characters). Where only a part is
secret, only that part is hidden. A name hides no path and no truth value, nor, where its word also counts things
(`--max-tokens 100`), a small number.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from math import log2

HIDDEN = "***"

_PASSWORD = "pass passwd password passphrase passcode pwd pw otp secret secrets credential credentials cred creds"
_OTHER = "key keys apikey token tokens auth authorization bearer cookie cookies dsn jwt salt sas"
_PASSWORDS = frozenset(_PASSWORD.split())
_SECRETS = _PASSWORDS | frozenset(_OTHER.split())
_PASSWORD_ENDS = ("password", "passwd", "passphrase", "pass", "pwd", "secret")
_ENDS = (*_PASSWORD_ENDS, "token", "credential", "credentials", "cookie", "key")
_INNOCENT_WORDS = frozenset(("compass", "bypass", "monkey", "hotkey"))
_INNOCENT_NAMES = frozenset(("PWD", "OLDPWD", "SSH_AUTH_SOCK"))
_IDENTITY = "sha sha1 sha256 sha512 hash digest checksum commit revision id uuid etag fingerprint"
_IDENTITIES = frozenset(_IDENTITY.split())
_TRUTH = frozenset(("", "true", "false", "yes", "no", "on", "off", "none", "null", "auto", "default"))

_TOKEN = 32  # characters from which on a word is asked whether it looks random
_BITS = 3.5  # a character: English has about 2.5 in a text of that length, hexadecimal digits 4


def value(name: str, text: str) -> tuple[str, bool]:
    """The value of variable `name` as it may be shown, and whether something of it is hidden."""
    shown = in_text(text)
    if secret_name(name) and not _harmless(name, text):
        password_of_url = shown != text and "://" in shown
        return (shown if password_of_url else HIDDEN), True
    if shown == text and _random(text) and not _IDENTITIES & set(words(name)):
        shown = HIDDEN
    return shown, shown != text


def command(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line as it may be shown."""
    return tuple(_command(argv))


def _command(argv: Sequence[str]) -> Iterator[str]:
    before = ""
    for text in argv:
        option = before if before.startswith("-") and "=" not in before else ""
        if option and secret_name(option) and not text.startswith("-") and not _harmless(option, text):
            yield HIDDEN
        elif option in ("-u", "--user", "--proxy-user") and ":" in text and "/" not in text:  # as curl takes them
            yield f"{text.partition(':')[0]}:{HIDDEN}"
        else:
            yield _argument(text)
        before = text


def _argument(text: str) -> str:
    name, equals, rest = text.partition("=")
    if equals and name and not any(one.isspace() or one in ":?&;'\"" for one in name):
        return f"{name}={value(name, rest)[0]}"
    shown = in_text(text)
    return HIDDEN if shown == text and _random(text) else shown


def in_text(text: str) -> str:
    """A text with those secrets hidden that can be told by their shape."""
    if any(sign in text for sign in _SIGNS) or (" " in text and "-" in text):  # making the patterns costs 3 ms
        for pattern in _patterns():
            text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def secret_name(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: `PGPASSWORD`, `--api-key`, `sessionToken`; not `TOKENIZERS`."""
    if name in _INNOCENT_NAMES:
        return False
    return any((word in _SECRETS or word.endswith(_ENDS)) and word not in _INNOCENT_WORDS for word in words(name))


def words(name: str) -> list[str]:
    """`AWS_SecretKey` → aws, secret, key."""
    pairs = zip(" " + name, name, strict=False)
    spaced = (
        f" {one}" if one.isupper() and before.islower() else one if one.isalnum() else " " for before, one in pairs
    )
    return "".join(spaced).lower().split()


def _harmless(name: str, text: str) -> bool:
    """A truth value; and, unless the name speaks of a password, a path or a small number."""
    if text.lower() in _TRUTH:
        return True
    if any(word in _PASSWORDS or word.endswith(_PASSWORD_ENDS) for word in words(name)) and not _names_a_file(name):
        return False
    return text.startswith(("/", "./", "~/")) or (text.isdigit() and len(text) < 8)


def _names_a_file(name: str) -> bool:
    return words(name)[-1:] in (["file"], ["path"], ["dir"], ["directory"])


def _random(text: str) -> bool:
    """One long word of letters and digits without a pattern in it: a base64 or hexadecimal token."""
    letters = text.rstrip("=").replace("_", "").replace("-", "")
    if text.endswith("="):
        letters = letters.replace("+", "").replace("/", "")
    if len(text) < _TOKEN or not letters.isalnum() or letters.isalpha() or letters.isdigit():
        return False
    shares = [text.count(one) / len(text) for one in set(text)]
    return -sum(share * log2(share) for share in shares) > _BITS


_PROVIDERS = (
    "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xoxa- xoxb- xoxp- hf_ npm_ pypi- dop_v1_ sk_live_ rk_live_ sk-"
)
_PREFIXES = tuple(_PROVIDERS.split())
_SIGNS = ("://", "=", ": ", "-----BEGIN", "eyJ", "AKIA", "ASIA", "AIza", "earer ", *_PREFIXES)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Group 1 stays, what follows it is hidden. Bounded repeats: a command line may have 128 kB of anything."""
    name = r"password|passwd|pwd|passphrase|secret|token|api[_-]?key|accountkey|sharedaccesskey|sig"
    header = r"authorization|proxy-authorization|x-api-key|x-auth-token|cookie|set-cookie"
    return tuple(
        re.compile(pattern)
        for pattern in (
            r"(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/:@?#]{0,256}:)[^\s/@]{1,256}(?=@)",
            rf"(?i)((?:\b|[_-])(?:{name})=['\"]?)[^\s&;'\"]+",
            rf"(?i)(--?(?:[a-z]+-){{0,4}}(?:{name}) )[^\s-]\S*",
            rf"(?i)(\b(?:{header}): ?)\S.*",
            rf"(?i)(\"[\w.-]{{0,64}}(?:{name}|[_-]key)\"\s?:\s?\")[^\"]+",
            r"(?i)(\bbearer )[A-Za-z0-9._~+/=-]{8,}",
            r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
            r"()\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
            r"()\bAIza[0-9A-Za-z_-]{35}",
            rf"()\b(?:{'|'.join(_PREFIXES)})[A-Za-z0-9_-]{{16,}}",
        )
    )
