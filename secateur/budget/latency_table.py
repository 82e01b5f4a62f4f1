"""Measured prices: how many milliseconds every width of a block takes on the runtime that is deployed.

Kurtic, Frantar and Alistarh 2023 (ZipLM, section 3.2): a table per block, measured once, lets a solver meet a
budget in time. Differs from the paper in: blocks are timed inside whole models and not alone, and the table is
corrected with models of mixed widths. Nothing is measured here: see ``latency_measurement``.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from transformers import PreTrainedConfig

from secateur.config.prune import LatencyBudget
from secateur.errors import ModelError, ProjectError
from secateur.families import family_of
from secateur.families.structures import Widths
from secateur.files import write_json
from secateur.models.heads import head_of

_SMALLEST_SHARE = 0.125
"""Checks below this share of the dense time judge no table: what is left is the call itself, and a budget that asks for
so little is rare. They stand in the file all the same."""


@dataclass(frozen=True)
class Shape:
    """The dense model, as far as its speed depends on it.

    Attributes:
        model_type: the architecture.
        num_layers: layers of the dense model.
        num_heads: heads per layer.
        head_dim: features per head.
        hidden_size: width of the residual stream.
        ffn: neurons per layer.
        kept_hidden_size: width of the residual stream in all models but the dense one.
        vocab_size: of a model whose call computes one token after those in the cache, and looks at its whole vocabulary
            for it; None where a call reads all tokens of a row at once.
    """

    model_type: str
    num_layers: int
    num_heads: int
    head_dim: int
    hidden_size: int
    ffn: int
    kept_hidden_size: int
    vocab_size: int | None = None

    @property
    def dense(self) -> Widths:
        """The dense widths."""
        layers = self.num_layers
        return Widths(heads=(self.num_heads,) * layers, ffn=(self.ffn,) * layers, head_dim=self.head_dim)

    def __str__(self) -> str:
        return (
            f"{self.model_type} with {self.num_layers} layers, {self.num_heads} heads, hidden size {self.hidden_size} "
            f"({self.kept_hidden_size} kept) and {self.ffn} neurons{self._generates()}"
        )

    def _generates(self) -> str:
        return "" if self.vocab_size is None else f", token by token over a vocabulary of {self.vocab_size}"


def check_measurable(config: PreTrainedConfig, settings: LatencyBudget) -> None:
    """Refuse settings under which no table can be measured; needs the shapes of the model only.

    Raises:
        ModelError: the model has fewer positions than ``settings.length``.
    """
    limit = family_of(config).max_tokens(config)
    if settings.length > limit:
        raise ModelError(f"prune.latency.length={settings.length} is more than the model can read ({limit} tokens)")


def shape_of(config: PreTrainedConfig, *, hidden_size: int | None = None) -> Shape:
    """Return what the speed of a model depends on.

    Args:
        config: of the dense model.
        hidden_size: features of the residual stream that stay; None = all.
    """
    family = family_of(config)
    dense = family.dense_widths(config)
    return Shape(
        model_type=family.model_type,
        num_layers=dense.num_layers,
        num_heads=dense.heads[0],
        head_dim=dense.head_dim,
        hidden_size=family.hidden_size(config),
        ffn=dense.ffn[0],
        kept_hidden_size=family.hidden_size(config) if hidden_size is None else hidden_size,
        vocab_size=config.vocab_size if head_of(config).per_token else None,
    )


@dataclass(frozen=True)
class Check:
    """One model of random widths that was not fitted.

    Attributes:
        heads: per layer.
        ffn: per layer.
        predicted_ms: by the table.
        measured_ms: in the same interleaved run as the dense model; the median of some passes.
        spread: half of what the passes differ by, as a share of ``measured_ms``.
    """

    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    predicted_ms: float
    measured_ms: float
    spread: float = 0.0

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_ms / self.measured_ms - 1.0


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds per block; never decreasing with the width.

    Attributes:
        attention_ms: of one layer's attention with 0, 1, ..., H heads.
        ffn_widths: neurons that were timed, ascending from 0; what lies between is interpolated.
        ffn_ms: of one layer's feed-forward block at each of them.
        fixed_ms: embeddings, pooler, head and the call itself.
        dense_ms: the dense model, measured, not summed up.
        settings: runtime, batch, length, threads, repeats.
        shape: of the dense model.
        machine: where it was measured.
        checks: predicted and measured, on models that the table was not fitted to.
    """

    attention_ms: tuple[float, ...]
    ffn_widths: tuple[int, ...]
    ffn_ms: tuple[float, ...]
    fixed_ms: float
    dense_ms: float
    settings: LatencyBudget
    shape: Shape
    machine: dict[str, str | int]
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        for name, prices in (("attention_ms", self.attention_ms), ("ffn_ms", self.ffn_ms)):
            steps = np.diff(np.array([0.0, *prices]))
            if not bool(np.all(steps >= 0.0)):
                raise ValueError(f"{name} must be numbers from 0 on that never decrease, found {list(prices)}")
        if not (self.fixed_ms >= 0.0 and self.dense_ms > 0.0):
            raise ValueError(f"times are positive, found fixed_ms={self.fixed_ms} and dense_ms={self.dense_ms}")

    def predict(self, widths: Widths) -> float:
        """Return the milliseconds of one call; a layer that is gone takes none."""
        attention = sum(self.attention_ms[count] for count in widths.heads)
        return self.fixed_ms + attention + float(np.interp(widths.ffn, self.ffn_widths, self.ffn_ms).sum())

    def every_ffn_ms(self) -> tuple[float, ...]:
        """Return the milliseconds for 0, 1, ..., F neurons."""
        return tuple(np.interp(np.arange(self.ffn_widths[-1] + 1), self.ffn_widths, self.ffn_ms).tolist())

    def mismatch(self, settings: LatencyBudget, shape: Shape) -> str | None:
        """Say for what else the table was measured than these settings and this model; None if for these."""
        # A trained vocabulary may come out smaller than was asked for; the table was measured with what was asked for.
        known, vocabulary = self.shape.vocab_size, shape.vocab_size
        fits = known is None or vocabulary is None or vocabulary <= known
        fits = fits and (known is None) == (vocabulary is None)
        if replace(self.shape, vocab_size=vocabulary) != shape or not fits:
            return f"was measured for {self.shape}, the model is {shape}"
        # What is forgiven has no part in how the table was measured.
        asked, found = (entry.model_dump(exclude={"max_error"}) for entry in (settings, self.settings))
        changed = [f"{name}={found[name]} (asked: {asked[name]})" for name in asked if asked[name] != found[name]]
        return f"was measured with {', '.join(changed)}" if changed else None

    def checked(self, checks: tuple[Check, ...]) -> Self:
        """Return the same table with these checks."""
        return replace(self, checks=checks)

    @property
    def judged(self) -> tuple[Check, ...]:
        """The checks that judge the table: those of an eighth of the dense time or more; all where there is none."""
        large = tuple(check for check in self.checks if check.predicted_ms >= _SMALLEST_SHARE * self.dense_ms)
        return large or self.checks

    @property
    def worst_error(self) -> float:
        """Largest relative error of the checks that judge, without its sign."""
        return max((abs(check.error) for check in self.judged), default=0.0)

    @property
    def spread(self) -> float:
        """What repeated passes over the same models differ by: the median of the checks that judge, relative."""
        return float(np.median([check.spread for check in self.judged])) if self.checks else 0.0

    @property
    def doubt(self) -> str | None:
        """Say why nobody should rely on this table: it misses ``settings.max_error``; None if it does not."""
        worst, spread, allowed = self.worst_error, self.spread, self.settings.max_error
        if max(worst, spread) <= allowed:
            return None
        return (
            f"predicts times within {worst:.1%} and repeats them within {spread:.1%}, "
            f"where prune.latency.max_error={allowed:g} asks for {allowed:.1%}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as they stand in the file; a tenth of a microsecond is the last digit."""
        values = asdict(self)
        values["settings"] = self.settings.model_dump(mode="json", exclude={"max_error"})
        if self.shape.vocab_size is None:
            del values["shape"]["vocab_size"]  # as before there were tables of generators
        for name in ("attention_ms", "ffn_ms"):
            values[name] = [round(value, 4) for value in values[name]]
        for name in ("fixed_ms", "dense_ms"):
            values[name] = round(values[name], 4)
        for check in values["checks"]:
            check.update({name: round(check[name], 4) for name in ("predicted_ms", "measured_ms", "spread")})
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Undo ``as_json``."""
        return cls(
            attention_ms=tuple(values["attention_ms"]),
            ffn_widths=tuple(values["ffn_widths"]),
            ffn_ms=tuple(values["ffn_ms"]),
            fixed_ms=values["fixed_ms"],
            dense_ms=values["dense_ms"],
            settings=LatencyBudget.model_validate(values["settings"]),
            # Tables of before named the task beside the vocabulary.
            shape=Shape(**{name: value for name, value in values["shape"].items() if name != "task"}),
            machine=values["machine"],
            checks=tuple(
                Check(**{**check, "heads": tuple(check["heads"]), "ffn": tuple(check["ffn"])})
                for check in values["checks"]
            ),
        )

    def write(self, file: Path) -> None:
        """Write the table as JSON."""
        write_json(file, self.as_json())

    @classmethod
    def read_for(cls, file: Path, *, settings: LatencyBudget, shape: Shape) -> Self:
        """Read a table that must belong to these settings and this model.

        Raises:
            ProjectError: the file is missing, is no latency table, or was measured for something else.
        """
        table = cls.read(file)
        if (mismatch := table.mismatch(settings, shape)) is not None:
            raise ProjectError(f"{file.name} {mismatch}; `secateur run` measures it again")
        return replace(table, settings=settings)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a table.

        Raises:
            ProjectError: the file is missing or is no latency table.
        """
        try:
            return cls.from_json(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ProjectError(f"{file.name} is missing; `secateur run` measures it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProjectError(
                f"{file.name} is not a latency table; delete it, and `secateur run` measures it again"
            ) from error
