"""What a stage body is given: where to read, where to write, and who it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.data.row_texts import Work


@dataclass(frozen=True)
class Job:
    """One execution of one stage.

    Attributes:
        stage: address of the stage, as in dvc.yaml (``prune@r2``).
        key: identity of the execution: digest of command, code, inputs and parameters.
        inputs: name -> path of every declared dependency that is not code.
        outputs: name -> path to write to; the driver moves it into place when the body returns.
        effects: name -> path of what is written but never compared (measured times, the page).
        digests: name -> digest of every input.
        parameters: dotted name -> value of every parameter that decides the result, defaults too.
        constraints: the file that pins the environment, part of the fingerprint.
        state: folder for what may be deleted at any time.
        work: does pieces of work on other machines or processes; None where all is done in this one.
        rank: which of ``run.processes`` this is; what others than the first (0) write is thrown away.
    """

    stage: str
    key: str
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    effects: Mapping[str, Path] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    constraints: Path | None = None
    state: Path | None = None
    rank: int = 0
    work: "Work | None" = None
