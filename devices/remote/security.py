"""A shared key and TLS, for a server that others than this computer reach.

The key itself never travels. Each side proves that it has the key by an HMAC over random numbers of both sides
and the fingerprint of the server's certificate. Someone in between would have to show another certificate, with
another fingerprint: so the proof stands for a certificate authority, and a self-signed certificate will do.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from hwloop.errors import ConfigError

SHORTEST_KEY = 32  # characters
LONGEST_KEY = 4096
NONCE_BYTES = 32
NEW_KEY = "openssl rand -hex 32 > rig.key; chmod 600 rig.key"
SERVER, CLIENT = b"hwloop server", b"hwloop client"


def read_key(path: Path | str) -> bytes:
    """The shared key in a file, without the white space around it.

    Raises
    ------
    ConfigError
        It cannot be read, is too short, or others than its owner may read or write it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(LONGEST_KEY + 1).strip()
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read ({error.strerror}); make one: {NEW_KEY}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        whose = "everybody" if mode & stat.S_IRWXO else "its group"
        raise ConfigError(f"{whose} may read or write the key file {path}; run: chmod go-rwx {path}")
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ConfigError(
            f"the key in {path} has {len(key)} characters; it needs {SHORTEST_KEY} to {LONGEST_KEY} random ones: "
            f"{NEW_KEY}"
        )
    return key


def new_nonce() -> str:
    """A number that nobody has used before, as text."""
    return secrets.token_hex(NONCE_BYTES)


def is_nonce(text: Any) -> TypeGuard[str]:
    """Whether this can be a number of :func:`new_nonce`."""
    return isinstance(text, str) and len(text) == 2 * NONCE_BYTES and text.isascii() and text.isalnum()


def proof(key: bytes, role: bytes, server_nonce: str, client_nonce: str, certificate: bytes) -> str:
    """What shows that ``role`` has the key, in this connection and in no other."""
    fingerprint = hashlib.sha256(certificate).hexdigest()
    text = b"\0".join([role, server_nonce.encode(), client_nonce.encode(), fingerprint.encode()])
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def is_proof(given: Any, expected: str) -> bool:
    """Whether a proof is the expected one, in a time that does not tell how much of it is right."""
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


@dataclass(frozen=True)
class ServerSecurity:
    """Key, certificate and TLS settings of a server.

    Parameters
    ----------
    key_file
        Holds the shared key.
    certificate, certificate_key
        PEM files for TLS.

    Raises
    ------
    ConfigError
        A file cannot be used.
    """

    key_file: Path
    certificate: Path
    certificate_key: Path
    key: bytes = field(init=False, repr=False)
    certificate_bytes: bytes = field(init=False, repr=False)
    context: ssl.SSLContext = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", read_key(self.key_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(self.certificate, self.certificate_key, password=_no_password)
            certificate = _first_certificate(self.certificate.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the certificate {self.certificate} with the key {self.certificate_key} cannot be used "
                f"({error}); both must be PEM files that belong together"
            ) from error
        object.__setattr__(self, "certificate_bytes", certificate)
        object.__setattr__(self, "context", context)


def client_context() -> ssl.SSLContext:
    """TLS that leaves it to the proof of the key who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _first_certificate(text: str) -> bytes:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) : text.index(end) + len(end)])


def _no_password() -> str:
    raise ValueError("the key is protected by a password; a server cannot ask for it")
