"""A detached signature on what a version consists of: who holds the key has seen exactly these files.

The digests of a version are tags of the registry, so whoever can write there can change a file and its digest. A
signature needs a key that the registry does not hold.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from secateur.errors import CheckFailed
from secateur.files import to_json, utf8
from secateur.registry.manifest_entries import extend
from secateur.registry.tags import MANIFEST, SIGNATURE, SIGNED, VersionTags
from secateur.verification import model_signature
from secateur.verification.key_text import Key
from secateur.verification.keys import SIGNING_VARIABLE, VERIFY_VARIABLE, signing_key, verify_key
from secateur.verification.version_files import SIGNATURE_FILE

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

Signature = Literal["asked", "if present", "ignored"]
"""What a version must show when a key is set: a signature that fits; one that fits or none; nothing."""


def sign(records: "Records", version: str, key: Key, *, tags: VersionTags, files: Mapping[str, str]) -> None:
    """Keep a signature with a version; a key on an elliptic curve writes ``model.sig`` as well, for other tools.

    Args:
        records: of the model.
        version: its number.
        key: with its private part.
        tags: that the caller has verified the files against; not asked for again, since they may be others by now.
        files: path below the root -> sha256, of what was verified.
    """
    if model_signature.can_sign(key):
        from secateur.registry.mlflow_artifacts import put

        text = model_signature.signed(f"{records.name}-{version}", files, key)
        put(records.registry, records.name, version, SIGNATURE_FILE, text)
    value = base64.b64encode(key.sign(_statement(records.name, version, tags))).decode()
    text = to_json({"algorithm": key.algorithm, "key": key.id, "value": value})
    extend(records, version, "signed", {SIGNATURE: text})


def sign_if_asked(records: "Records", version: str, *, tags: VersionTags, files: Mapping[str, str]) -> None:
    """Sign what passed the gate when a signing key is set, unless the environment asks for another key's signature."""
    key, asked = signing_key(), verify_key()
    if key is not None and asked is not None and key.id == asked.id:
        sign(records, version, key, tags=tags, files=files)


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
    """Return what is signed: which version, its digests, what it was made of, and its manifest where it has one."""
    signed = {tag: tags.get(tag) for tag in SIGNED} | {tag: tags[tag] for tag in (MANIFEST,) if tag in tags}
    return utf8(to_json({"model": name, "version": version, **signed}))
