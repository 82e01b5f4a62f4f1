"""``MLmodel``: which folder of a version is what, and whether MLflow would run anything but the script that we know."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from secateur.errors import CheckFailed, ModelError

SCRIPT = "registered_model.py"
_LOADERS = ("mlflow.pyfunc.loaders.code_model", "mlflow.pyfunc.model")
_KEYS = frozenset(
    {
        "artifacts",
        "cloudpickle_version",
        "code",
        "env",
        "loader_module",
        "model_code_path",
        "python_version",
        "streamable",
    }
)
"""What the description of a model from code may say; ``python_model`` would be a pickle."""

_RELEASED_SCRIPTS = frozenset(
    {
        "7dca21a9b253a8c1b4dc78a33faa293e82aff4471e7489b61874e60a39bbc195",  # 0.1.0
        "1d8f5b231faae7d9f8e90bb16934b390bec57cc3baecd513924e8beb5836c55f",  # 0.2.0, 0.3.0
        "7c150b91453ca10921df6bd619d741623699ee289bb07f23880d28d44be8b15e",  # 0.3.1
    }
)
"""sha256 of the scripts of earlier releases: their versions stay good. A changed script adds its last one here.

What they import stays where they look for it: ``secateur.evaluation`` has three modules for them."""


def folders_of(text: bytes, *, where: Path, named: str) -> dict[str, str]:
    """Return ``checkpoint``, and ``deployed`` where there is one, as paths below the root of a version.

    Args:
        text: of ``MLmodel``.
        where: it was read, for messages.
        named: the version, for messages.

    Raises:
        ModelError: it describes no model of secateur's.
        CheckFailed: it names a folder outside its own, or something else that MLflow would run.
    """
    from ruamel.yaml.error import YAMLError

    from secateur.yaml_text import read_yaml

    try:
        flavor = read_yaml(text.decode("utf-8"))["flavors"]["python_function"]
        folders = {str(name): str(artifact["path"]) for name, artifact in flavor["artifacts"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, YAMLError) as error:
        raise ModelError(f"{named} was not registered by secateur: {where} names no checkpoint") from error
    if "checkpoint" not in folders or not set(folders) <= {"checkpoint", "deployed"}:
        raise ModelError(f"{named} was not registered by secateur: {where} names no checkpoint")
    _require_plain(flavor, where=where, named=named)
    for path in folders.values():
        parts = PurePosixPath(path).parts
        if PurePosixPath(path).is_absolute() or ".." in parts or len(parts) < 2:
            raise CheckFailed(f"{where} differs from what was registered: it names {path}, outside its folder")
    return folders


def problem_of_digest(digest: str | None) -> str | None:
    """Return what is wrong with a script that has this sha256, None when it is ours or that of an earlier release."""
    own = hashlib.sha256(Path(__file__).with_name(SCRIPT).read_bytes()).hexdigest()
    if digest == own or digest in _RELEASED_SCRIPTS:
        return None
    return (
        f"its {SCRIPT}, which MLflow would run, is neither this secateur's nor that of an earlier release; register "
        "the model again, or use the secateur that registered it"
    )


def _require_plain(flavor: Mapping[str, Any], *, where: Path, named: str) -> None:
    script = PurePosixPath(str(flavor.get("model_code_path", ""))).name
    said = [f"{key}: {flavor[key]}" for key in sorted(set(flavor) - _KEYS)]
    said += [f"loader_module: {flavor.get('loader_module')}"] * (flavor.get("loader_module") not in _LOADERS)
    said += [f"model_code_path: {flavor.get('model_code_path')}"] * (script != SCRIPT)
    said += [f"code: {flavor['code']}"] * (flavor.get("code") is not None)
    if said:
        raise CheckFailed(
            f"{named}: {where} says {said[0]}, with which MLflow would run something that secateur did not register; "
            "nothing was loaded; restore or rebuild the model"
        )
