"""A detached signature on what a version consists of: who holds the key has seen exactly these files.

The digests of a version are tags of the registry, so whoever can write there can change a file and its digest. A
signature needs a key that the registry does not hold.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from secateur.errors import CheckFailed, ConfigError
from secateur.files import to_json
from secateur.registry.tags import SIGNATURE, SIGNED, VersionTags

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

SIGNING_VARIABLE = "SECATEUR_SIGNING_KEY"
VERIFY_VARIABLE = "SECATEUR_VERIFY_KEY"

Signature = Literal["asked", "if present", "ignored"]
"""What a version must show when a key is set: a signature that fits; one that fits or none; nothing."""

_MIN_SECRET_CHARS = 16
_NUM_BYTES = 32


@dataclass(frozen=True)
class Key:
    """A key from the environment: ``hmac:SECRET`` or ``ed25519:BASE64`` of 32 bytes.

    Attributes:
        algorithm: ``hmac`` signs and verifies with one secret, ``ed25519`` verifies with a public key.
        private: what signs; None when it can only verify.
        public: what names the key and verifies: the secret for hmac.
    """

    algorithm: Literal["hmac", "ed25519"]
    private: bytes | None
    public: bytes

    @property
    def id(self) -> str:
        """A short name of the key, which does not give it away."""
        return hashlib.sha256(b"secateur key " + self.public).hexdigest()[:16]

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        assert self.private is not None
        if self.algorithm == "hmac":
            return hmac.new(self.private, message, hashlib.sha256).digest()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.private).sign(message)

    def fits(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature of a message was made with this key."""
        if self.algorithm == "hmac":
            return hmac.compare_digest(self.sign(message), signature)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def signing_key() -> Key | None:
    """Return the key of ``SECATEUR_SIGNING_KEY``, which holds the private part; None when it is not set.

    Raises:
        ConfigError: it is no key.
    """
    return _read(SIGNING_VARIABLE, private=True)


def verify_key() -> Key | None:
    """Return the key of ``SECATEUR_VERIFY_KEY``, or else that of ``SECATEUR_SIGNING_KEY``; None when none is set.

    Raises:
        ConfigError: it is no key.
    """
    return _read(VERIFY_VARIABLE, private=False) or signing_key()


def sign(records: "Records", version: str, key: Key, *, tags: VersionTags) -> None:
    """Keep a signature with a version.

    Args:
        records: of the model.
        version: its number.
        key: with its private part.
        tags: that the caller has verified the files against; not asked for again, since they may be others by now.
    """
    value = base64.b64encode(key.sign(_statement(records.name, version, tags))).decode()
    records.tag_version(version, SIGNATURE, to_json({"algorithm": key.algorithm, "key": key.id, "value": value}))


def sign_if_asked(records: "Records", version: str, *, tags: VersionTags) -> None:
    """Sign what passed the gate when a signing key is set, unless the environment asks for another key's signature."""
    key, asked = signing_key(), verify_key()
    if key is not None and asked is not None and key.id == asked.id:
        sign(records, version, key, tags=tags)


def require_signature(name: str, version: str, tags: VersionTags, asked: Signature) -> None:
    """Refuse a version whose signature is not the one that the environment asks for.

    Args:
        name: of the registered model.
        version: its number.
        tags: of the version.
        asked: how strictly.

    Raises:
        CheckFailed: it is not signed, or not so that it fits; nothing was opened.
        ConfigError: a variable holds no key.
    """
    key = None if asked == "ignored" else verify_key()
    signing_key()  # one that cannot be read is told before anything is computed
    if key is None or (asked == "if present" and SIGNATURE not in tags):
        return
    problem = problem_of(name, version, tags, key)
    if problem is not None:
        reference = f"models:/{name}/{version}"
        raise CheckFailed(
            f"{reference} {problem}; nothing was loaded; when the version is what it should be, sign it where the "
            f"private key is: `secateur models sign {reference}`"
        )


def asked_of_a_challenger() -> Signature:
    """Return what a promotion asks of both versions: who has only a signing key signs what passes the gate."""
    return "asked" if os.environ.get(VERIFY_VARIABLE) else "if present"


def problem_of(name: str, version: str, tags: VersionTags, key: Key) -> str | None:
    """Return what is wrong with the signature of a version, None when nothing is."""
    if SIGNATURE not in tags:
        variable = VERIFY_VARIABLE if os.environ.get(VERIFY_VARIABLE) else SIGNING_VARIABLE
        return f"is not signed, and {variable} asks for a signature"
    try:
        kept = json.loads(tags[SIGNATURE])
        signature = base64.b64decode(kept["value"], validate=True)
        signed_by = (kept["algorithm"], kept["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"has a signature that cannot be read (tag {SIGNATURE})"
    if signed_by != (key.algorithm, key.id):
        signer = f"{signed_by[0]} {signed_by[1]}"
        return f"is signed with another key: asked for {key.algorithm} {key.id}, found {signer}"
    if not key.fits(_statement(name, version, tags), signature):
        return "has a signature of something else: a digest or where it comes from was changed after it was signed"
    return None


def _statement(name: str, version: str, tags: VersionTags) -> bytes:
    """Return what is signed: which version, its digests, and what it was made of."""
    return to_json({"model": name, "version": version, **{tag: tags.get(tag) for tag in SIGNED}}).encode()


def _read(variable: str, *, private: bool) -> Key | None:
    text = os.environ.get(variable)
    if not text:
        return None
    algorithm, _, value = text.partition(":")
    if algorithm == "hmac" and len(value) >= _MIN_SECRET_CHARS:
        return Key("hmac", value.encode(), value.encode())
    if algorithm == "ed25519":
        try:
            raw = base64.b64decode(value, validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) == _NUM_BYTES and private:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

            made = Ed25519PrivateKey.from_private_bytes(raw).public_key()
            return Key("ed25519", raw, made.public_bytes(Encoding.Raw, PublicFormat.Raw))
        if len(raw) == _NUM_BYTES:
            return Key("ed25519", None, raw)
    part = "private key" if private else "public key"
    raise ConfigError(
        f"{variable} is no key: it must be hmac:SECRET with {_MIN_SECRET_CHARS} characters or more, or ed25519:BASE64 "
        f"of the {_NUM_BYTES} bytes of a {part}"
    )
