"""Keys as they are written: a secret, or Ed25519 and ECDSA in PEM."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

Algorithm = Literal["hmac", "ed25519", "ecdsa"]
MIN_SECRET_CHARS = 16
NUM_BYTES = 32
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class Key:
    """A key: ``hmac:SECRET``, ``ed25519:BASE64`` of 32 bytes, or ``ecdsa:BASE64``, a PEM without its frame.

    Attributes:
        algorithm: ``hmac`` signs and verifies with one secret, the others verify with a public key.
        private: what signs; None when it can only verify.
        public: what names the key and verifies: the secret for hmac, of ecdsa the DER of its SubjectPublicKeyInfo.
    """

    algorithm: Algorithm
    private: bytes | None
    public: bytes

    @property
    def id(self) -> str:
        """A short name of the key, which does not give it away."""
        return hashlib.sha256(b"secateur key " + self.public).hexdigest()[:16]

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message; of ecdsa another one each time."""
        assert self.private is not None
        if self.algorithm == "hmac":
            return hmac.new(self.private, message, hashlib.sha256).digest()
        if self.algorithm == "ecdsa":
            key = _private_ecdsa(self.private)
            return key.sign(message, _hash_of(key.public_key()))
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.private).sign(message)

    def fits(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature of a message was made with this key."""
        if self.algorithm == "hmac":
            return hmac.compare_digest(self.sign(message), signature)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            if self.algorithm == "ecdsa":
                key = _public_ecdsa(self.public)
                key.verify(signature, message, _hash_of(key))
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> bytes:
        """Return the public key of ecdsa in the form that others read."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return _public_ecdsa(self.public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_key(text: str, *, private: bool) -> Key | None:
    """Return the key that a text holds, or None where it holds none."""
    algorithm, _, value = text.partition(":")
    if algorithm == "hmac":
        return Key("hmac", value.encode(), value.encode()) if len(value) >= MIN_SECRET_CHARS else None
    if algorithm not in get_args(Algorithm):
        return None
    try:
        raw = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    read = _read_ecdsa if algorithm == "ecdsa" else _read_ed25519
    return read(raw, private=private)


def _read_ed25519(raw: bytes, *, private: bool) -> Key | None:
    if len(raw) != NUM_BYTES:
        return None
    if not private:
        return Key("ed25519", None, raw)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    made = Ed25519PrivateKey.from_private_bytes(raw).public_key()
    return Key("ed25519", raw, made.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _read_ecdsa(raw: bytes, *, private: bool) -> Key | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public = _private_ecdsa(raw).public_key() if private else _public_ecdsa(raw)
        if public.curve.name not in _CURVES:
            return None
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None
    named = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key("ecdsa", raw if private else None, named)


def _private_ecdsa(raw: bytes) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    return cast("EllipticCurvePrivateKey", load_der_private_key(raw, None))


def _public_ecdsa(raw: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return cast("EllipticCurvePublicKey", load_der_public_key(raw))


def _hash_of(key: "EllipticCurvePublicKey") -> "ECDSA":
    """Return the digest that goes with a curve, as Sigstore's specifications pair them."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    of_size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return ECDSA(of_size[key.curve.key_size])
