"""
Throw-away certificates for a stack on this machine: an authority that forgets its key, one certificate for all servers.

Rules: 1. The authority's key is never written: nobody can sign with it once the stack runs.  2. Made anew each time.
Source: RFC 5280; Apache Kafka, security: `ssl.keystore.type=PEM` takes key and chain in one file.
"""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER: Final = "calllog-guard-stack"
"""The common name: the brokers know each other by it, and the stack itself administers them with it."""
_DAYS: Final = 365
_HOSTS: Final = ("127.0.0.1",)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, hosts: tuple[str, ...]
) -> bytes:
    now = datetime.now(UTC)  # noqa: TID251 - what checks a certificate asks the real clock
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("calllog-guard throw-away CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if hosts:
        names = [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    else:
        usage = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    return made.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make(folder: Path, hosts: tuple[str, ...] = _HOSTS) -> tuple[Path, Path]:
    """
    A new authority and a server's key and certificate in a folder.

    Returns:
        The authority's certificate, for clients; key and chain of the server, readable by its owner alone.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _signed("calllog-guard throw-away CA", authority, authority, ())
    plain = serialization.NoEncryption()
    key = server.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    write_private(folder / "server.pem", key + _signed(SERVER, server, authority, hosts) + ca)
    (folder / "ca.pem").write_bytes(ca)
    return folder / "ca.pem", folder / "server.pem"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
