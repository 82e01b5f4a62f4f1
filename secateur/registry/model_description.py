"""``MLmodel``: which folder of a version is what, and whether MLflow would run anything but ours."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from secateur.errors import CheckFailed, ModelError

DESCRIPTION = "MLmodel"
LOADER = "secateur.registry.registered_model"
"""The installed module that MLflow loads a version with; its name stands in every version, so it stays."""

SCRIPT = "registered_model.py"
"""Of versions from before 0.4, which MLflow loads by running it."""

_SCRIPT_LOADERS = ("mlflow.pyfunc.loaders.code_model", "mlflow.pyfunc.model")
_KEYS = frozenset({"artifacts", "code", "env", "loader_module", "python_version", "streamable"})
_SCRIPT_KEYS = _KEYS | {"cloudpickle_version", "model_code_path"}
"""What a description may say; ``data`` would be another folder, ``python_model`` a pickle."""

_RELEASED_SCRIPTS = frozenset(
    {
        "7dca21a9b253a8c1b4dc78a33faa293e82aff4471e7489b61874e60a39bbc195",  # 0.1.0
        "1d8f5b231faae7d9f8e90bb16934b390bec57cc3baecd513924e8beb5836c55f",  # 0.2.0, 0.3.0
        "7c150b91453ca10921df6bd619d741623699ee289bb07f23880d28d44be8b15e",  # 0.3.1
        "050bdfde46c78aa6c562a418f35c86df290eaba6ee55da6bff08988e4880e8ff",  # before 0.4 stored none
    }
)
"""sha256 of the scripts of earlier releases: their versions stay good.

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
    """Return what is wrong with a script that has this sha256, None when it is that of an earlier release."""
    if digest in _RELEASED_SCRIPTS:
        return None
    return (
        f"its {SCRIPT}, which MLflow would run, is that of no release; register the model again, or use the secateur "
        "that registered it"
    )


def runs_a_script(text: bytes) -> bool:
    """Tell whether MLflow would run a script that is stored with a version; ``folders_of`` took its ``MLmodel``."""
    from secateur.yaml_text import read_yaml

    return bool(read_yaml(text.decode("utf-8"))["flavors"]["python_function"]["loader_module"] != LOADER)


def _require_plain(flavor: Mapping[str, Any], *, where: Path, named: str) -> None:
    loader, by_script = flavor.get("loader_module"), flavor.get("loader_module") in _SCRIPT_LOADERS
    said = [f"{key}: {flavor[key]}" for key in sorted(set(flavor) - (_SCRIPT_KEYS if by_script else _KEYS))]
    said += [f"loader_module: {loader}"] * (loader != LOADER and not by_script)
    script = PurePosixPath(str(flavor.get("model_code_path", ""))).name
    said += [f"model_code_path: {flavor.get('model_code_path')}"] * (by_script and script != SCRIPT)
    said += [f"code: {flavor.get('code')}"] * (flavor.get("code") is not None)
    if said:
        raise CheckFailed(
            f"{named}: {where} says {said[0]}, with which MLflow would run something that secateur did not register; "
            "nothing was loaded; restore or rebuild the model"
        )
