"""``model.sig``: a signature of a version's files in the format of OpenSSF Model Signing 1.0, for other tools.

An in-toto statement with the sha256 of every file, in a DSSE envelope, in a Sigstore bundle 0.3
(https://github.com/ossf/model-signing-spec, spec/v1.0.md). The format knows keys on P-256, P-384 and P-521 alone, so
it is written where such a key signs. It lies in the root of the version and is not one of its files.

Differs from the reference implementation (model-signing 1.1) in the order of files, where the specification asks for
that of code points; either is accepted by both.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from secateur.verification.key_text import Key
from secateur.verification.version_files import SIGNATURE_FILE

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_LEFT_OUT = (SIGNATURE_FILE, "registered_model_meta")
"""What may lie beside the files: the signature itself, and what MLflow leaves when somebody loads them."""


def can_sign(key: Key) -> bool:
    """Tell whether the format knows keys of this kind."""
    return key.algorithm == "ecdsa"


def signed(name: str, files: Mapping[str, str], key: Key) -> str:
    """Return the text of ``model.sig``.

    Args:
        name: of the model, for information.
        files: path below the root, with slashes -> sha256.
        key: ecdsa, with its private part.
    """
    payload = json.dumps(_statement(name, files), indent=2, ensure_ascii=False).encode()
    signature = {"sig": _base64(key.sign(_encoded(payload))), "keyid": ""}
    envelope = {"payload": _base64(payload), "payloadType": _PAYLOAD, "signatures": [signature]}
    material = {"publicKey": {"hint": _hint(key)}, "tlogEntries": []}
    bundle = {"mediaType": _BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")) + "\n"


def problem_of(text: str, files: Mapping[str, str], key: Key) -> str | None:
    """Return what is wrong with a ``model.sig``, None when a key has signed these files with it.

    Args:
        text: of the file.
        files: path below the root -> sha256 of what lies there.
        key: that must have signed.
    """
    if not can_sign(key):
        return f"{SIGNATURE_FILE} cannot be checked with a key of {key.algorithm}: its format knows ecdsa alone"
    try:
        return _problem(json.loads(text), files, key)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, binascii.Error):
        return f"{SIGNATURE_FILE} is no signature in the format of OpenSSF Model Signing 1.0"


def _problem(bundle: Mapping[str, Any], files: Mapping[str, str], key: Key) -> str | None:
    if bundle["mediaType"] != _BUNDLE:
        return f"{SIGNATURE_FILE} is a bundle of another version: {str(bundle['mediaType'])[:80]}"
    hint = bundle["verificationMaterial"].get("publicKey", {}).get("hint")
    if hint != _hint(key):
        return f"{SIGNATURE_FILE} is not signed with this key: asked for {_hint(key)[:16]}, found {str(hint)[:16]}"
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
    if envelope["payloadType"] != _PAYLOAD or not key.fits(_encoded(payload), signature):
        return f"{SIGNATURE_FILE} has a signature of something else"
    statement = json.loads(payload)
    predicate = statement["predicate"]
    said = predicate["serialization"]
    if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
        return f"{SIGNATURE_FILE} states something else than a model's files"
    if (said["method"], said["hash_type"]) != ("files", "sha256"):
        how = f"{said['method']} and {said['hash_type']}"
        return f"{SIGNATURE_FILE} has digests by {how}; secateur reads files and sha256"
    return _difference({one["name"]: one["digest"] for one in predicate["resources"]}, files)


def _difference(listed: Mapping[str, str], files: Mapping[str, str]) -> str | None:
    for name in sorted({*listed, *files}):
        if listed.get(name) != files.get(name):
            what = "lists no" if name not in listed else "lists a" if name not in files else "has another digest of"
            return f"{SIGNATURE_FILE} {what} {name}"
    return None


def _statement(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    resources = [{"name": path, "digest": files[path], "algorithm": "sha256"} for path in sorted(files)]
    root = hashlib.sha256(b"".join(bytes.fromhex(files[path]) for path in sorted(files))).hexdigest()
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": list(_LEFT_OUT),
    }
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _encoded(payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding of DSSE 1."""
    return f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload


def _hint(key: Key) -> str:
    """Return the fingerprint that names a key: sha256 of its PEM, as the reference implementation makes it."""
    return hashlib.sha256(key.pem()).hexdigest()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
