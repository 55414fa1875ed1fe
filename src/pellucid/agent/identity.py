"""Who the agent is: a private key and a self-made certificate (X.509, RFC 5280), and its fingerprint, which a person compares once."""

import datetime as dt
import importlib.util
import os
import socket
from hashlib import sha256
from typing import Final

import msgspec

from pellucid import home
from pellucid.model.errors import UsageError, os_words

DAYS: Final = 397
WARNED_DAYS: Final = 30


class Identity(msgspec.Struct, frozen=True):
    """The files of key and certificate, the certificate (DER), and until when it holds (seconds since 1970)."""

    key: str
    certificate: str
    content: bytes
    ends_at: float

    @property
    def fingerprint(self) -> str:
        """As `fingerprint` of the certificate."""
        return fingerprint(self.content)


def fingerprint(certificate: bytes) -> str:
    """`SHA256:2f:0a:...`, as `openssl x509 -fingerprint -sha256` prints it, in small letters."""
    return "SHA256:" + sha256(certificate).digest().hex(":")


def same(one: str, other: str) -> bool:
    """Whether two spellings are of the same fingerprint: the prefix, colons and the size of letters don't matter."""
    return _bare(one) == _bare(other)


def _bare(spelled: str) -> str:
    return spelled.strip().lower().removeprefix("sha256:").removeprefix("sha256 fingerprint=").replace(":", "")


def made(folder: str, now: float, *, renewed: bool = False) -> Identity:
    """The identity in `folder`; made there when there is none, or anew. Raises UsageError: the files can't be written or read."""
    key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")
    if renewed or not (os.path.exists(key) and os.path.exists(certificate)):
        _make(folder, key, certificate, now)
    return read(key, certificate)


def read(key: str, certificate: str) -> Identity:
    """The identity of these two files (PEM). Raises UsageError."""
    _needed()
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        with open(certificate, "rb") as file:
            found = x509.load_pem_x509_certificate(file.read())
        content = found.public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        said = os_words(error) if isinstance(error, OSError) else f"it is no certificate in PEM: {error}"
        raise UsageError(
            tried=f"read the certificate {certificate}", said=said, remedy="pellucid agent --renew"
        ) from None
    return Identity(key, certificate, content, found.not_valid_after_utc.timestamp())


def _make(folder: str, key: str, certificate: str, now: float) -> None:
    _needed()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    begins = dt.datetime.fromtimestamp(now, dt.UTC) - dt.timedelta(days=1)  # clocks differ
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"pellucid agent on {socket.gethostname()}"[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    plain = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        home.write_private(key, plain)
        home.write_private(certificate, made.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        remedy = "XDG_DATA_HOME=/a/folder/of/yours pellucid agent"
        raise UsageError(tried=f"make a certificate in {folder}", said=os_words(error), remedy=remedy) from None


def _needed() -> None:
    if importlib.util.find_spec("cryptography") is None:
        said = "the package cryptography is not installed"
        raise UsageError(tried="make or read a certificate", said=said, remedy="pip install 'pellucid[agent]'")
