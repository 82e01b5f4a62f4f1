"""What a finished project offers to a benchmark: the dense model, its rows, its settings."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from torch import Tensor
from transformers import PreTrainedModel

from secateur.budget.latency_table import LatencyTable
from secateur.config.schema import RunConfig, parse_config
from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.errors import ProjectError
from secateur.models.card import read_card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.training.prepared_rows import read_prepared_rows
from secateur.workflow.stage import LATENCY_TABLE

BASELINE = Path("models") / "baseline"


@dataclass(frozen=True)
class Subject:
    """What every method is given, the same for all of them.

    Attributes:
        baseline: checkpoint of the dense model.
        config: the project's parameters.
        train: rows to learn from.
        validation: rows that choose weights.
        test: rows that nothing but the final score may read.
        logits: of the dense model on the training rows, (rows, C).
        table: measured prices; None when the budget of the parameters is another one.
    """

    baseline: Path
    config: RunConfig
    train: TokenRows
    validation: TokenRows
    test: TokenRows
    logits: Tensor
    table: LatencyTable | None

    def dense(self) -> PreTrainedModel:
        """Load a fresh copy of the dense model."""
        return load(self.baseline, verify=False)

    def card(self) -> dict[str, Any]:
        """Return the card of the dense model."""
        return read_card(self.baseline)


def read_project(project: Path, *, params: Path, num_rows: int | None) -> Subject:
    """Read a project that ``secateur run`` has taken at least as far as the dense model.

    Args:
        project: folder with ``models/baseline``, ``data/tokens`` and ``data/clean``.
        params: the parameters whose ``prune`` section is used.
        num_rows: training rows, drawn once and the same for every method and seed; None takes all.

    Raises:
        ProjectError: a part is missing; it is named.
    """
    for part in (BASELINE, Path("data/tokens/train.arrow"), Path("data/clean/test.parquet")):
        if not (project / part).exists():
            raise ProjectError(f"{project} has no {part}; `secateur run` makes it")
    config = parse_config(YAML(typ="safe").load(params))
    found = read_prepared_rows(project / "data" / "tokens")
    train, logits = found.train, found.dense_logits
    if logits is None:
        raise ProjectError(f"{project} holds a {config.run.task} project, whose dense model keeps no logits")
    if num_rows is not None and num_rows < len(train):
        chosen = np.sort(np.random.default_rng(0).choice(len(train), size=num_rows, replace=False))
        train, logits = train.take(chosen), logits[chosen]
    return Subject(
        baseline=project / BASELINE,
        config=config,
        train=train,
        validation=found.validation,
        test=_test_rows(project),
        logits=logits,
        table=LatencyTable.read(project / LATENCY_TABLE) if config.prune.budget.kind == "latency" else None,
    )


def _test_rows(project: Path) -> TokenRows:
    baseline = project / BASELINE
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test.arrow"
        table = project / "data" / "clean" / "test.parquet"
        max_length = int(read_card(baseline)["max_length"])
        tokenize(table, tokenizer=load_tokenizer(baseline), max_length=max_length, out=file)
        return read_tokens(file)
