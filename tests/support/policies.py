"""Policy files for tests, with real key files beside them."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.policy.active import Policy

HEAD = """\
[[version]]
effective = {effective}
change = "{change}"
[version.tenant.iocom]
regime = "uk"
events = ["calllog.events"]
{more}
[version.tenant.iocom.requesters.officer-1]
role = "officer"
key = "officer-1.pub.pem"
[version.tenant.iocom.requesters.backend-1]
role = "backend"
key = "backend-1.pub.pem"
[version.tenant.iocom.actors.support-1]
purposes = ["service"]
"""
SERVICE = """\
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
"""


def write_keys(directory: Path) -> None:
    """Keys of two officers and a backend (Ed25519; seeds: the names' first letters), and of a recipient (X25519)."""
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    spki = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for number, name in enumerate(("officer-1", "officer-2", "backend-1"), 1):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        (directory / f"{name}.pem").write_bytes(key.private_bytes(*plain))
        (directory / f"{name}.pub.pem").write_bytes(key.public_key().public_bytes(*spki))
    sealed = X25519PrivateKey.from_private_bytes(b"\x09" * 32)
    (directory / "invoicing.pub.pem").write_bytes(sealed.public_key().public_bytes(*spki))


def version(effective: str = "2026-01-01", more: str = "", purposes: str = SERVICE, change: str = "First.") -> str:
    """One version's text."""
    return HEAD.format(effective=effective, change=change, more=more) + purposes


def policy_of(directory: Path, *versions: str, name: str = "policy.toml") -> Policy:
    """The loaded policy of some versions."""
    if not (directory / "officer-1.pem").exists():
        write_keys(directory)
    path = directory / name
    path.write_text("\n".join(versions))
    return load_policy(path)
