"""Keys that sign versions and approve of them: they come from the environment or params.yaml, never from a registry."""

import os

from secateur.errors import ConfigError
from secateur.verification.key_text import MIN_SECRET_CHARS, NUM_BYTES, Key, read_key

SIGNING_VARIABLE = "SECATEUR_SIGNING_KEY"
VERIFY_VARIABLE = "SECATEUR_VERIFY_KEY"


def signing_key() -> Key | None:
    """Return the key of ``SECATEUR_SIGNING_KEY``, which holds the private part; None when it is not set.

    Raises:
        ConfigError: it is no key.
    """
    return _of_environment(SIGNING_VARIABLE, private=True)


def verify_key() -> Key | None:
    """Return the key of ``SECATEUR_VERIFY_KEY``, or else that of ``SECATEUR_SIGNING_KEY``; None when none is set.

    Raises:
        ConfigError: it is no key.
    """
    return _of_environment(VERIFY_VARIABLE, private=False) or signing_key()


def public_key(text: str, *, where: str) -> Key:
    """Read a public key: ``ed25519:BASE64`` or ``ecdsa:BASE64``; a secret is none.

    Raises:
        ConfigError: it is none; ``where`` says who named it.
    """
    key = None if text.startswith("hmac:") else read_key(text, private=False)
    if key is None:
        raise ConfigError(
            f"{where} is no public key: it must be ed25519:BASE64 of {NUM_BYTES} bytes, or ecdsa:BASE64 of a PEM "
            "without its first and last line"
        )
    return key


def _of_environment(variable: str, *, private: bool) -> Key | None:
    text = os.environ.get(variable)
    if not text:
        return None
    key = read_key(text, private=private)
    if key is None:
        part = "private key" if private else "public key"
        raise ConfigError(
            f"{variable} is no key: it must be hmac:SECRET with {MIN_SECRET_CHARS} characters or more, "
            f"ed25519:BASE64 of the {NUM_BYTES} bytes of a {part}, or ecdsa:BASE64 of a {part} on P-256, P-384 or "
            "P-521: its PEM (PKCS #8) without the first and last line"
        )
    return key
