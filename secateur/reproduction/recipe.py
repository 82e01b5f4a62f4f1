"""What a rebuild of a registered version starts from: all that it says of how it was made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK = "dvc.lock"
PARAMS = "params.yaml"


@dataclass(frozen=True)
class Recipe:
    """Everything that a registered version says about how it was made.

    Attributes:
        name: of the registered model.
        version: its number.
        stage: address of the stage that made the checkpoint.
        commit: of the code.
        files: file of the checkpoint -> sha256.
        fingerprint: of the environment.
        metrics: of the evaluation.
        lock: content of dvc.lock.
        kept: folder with the files that the run kept.
    """

    name: str
    version: str
    stage: str
    commit: str
    files: Mapping[str, str]
    fingerprint: Mapping[str, Any]
    metrics: Mapping[str, float]
    lock: Mapping[str, Any]
    kept: Path

    @property
    def checkpoint(self) -> str:
        """Path of the checkpoint in the workspace."""
        return "models/" + self.stage.rpartition("@")[2]

    def stages(self) -> list[str]:
        """Return the stages between the copied source and the checkpoint, in running order."""
        makers = {out["path"]: address for address, entry in self.lock.items() for out in entry.get("outs", [])}
        ordered: list[str] = []

        def visit(address: str) -> None:
            for dependency in self.lock[address].get("deps", []):
                maker = makers.get(dependency["path"].removesuffix("/card.json"))
                if maker is not None and maker != "ingest" and maker not in ordered:
                    visit(maker)
            if address not in ordered:
                ordered.append(address)

        visit(self.stage)
        return ordered

    def sources(self) -> dict[str, str]:
        """Return path -> md5 of what ``ingest`` copied: the data version and the pretrained model."""
        return {out["path"]: out["md5"] for out in self.lock["ingest"]["outs"]}

    def digest_of(self, path: str) -> str | None:
        """Return the md5 under which any stage depended on a file."""
        for entry in self.lock.values():
            for dependency in entry.get("deps", []):
                if dependency["path"] == path:
                    return str(dependency["md5"])
        return None
