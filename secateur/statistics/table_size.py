"""What a table of so few rows cannot give: gates and figures that ask for more, told before anything is trained."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from secateur.config.effective import is_named
from secateur.config.schema import RunConfig
from secateur.kinds.registry import kind_named
from secateur.statistics.margins import CHANGED_SHARE, POWER, USUAL, effective_rows, passes, provable, rows_for

_ROUNDING = 0.01
"""A margin in thousandths that a user takes from what was told may miss the power by so much."""


def shortfalls(data: Mapping[str, Any], config: RunConfig) -> tuple[str, ...]:
    """Return one line for every number of the parameters that these rows cannot meet, with one that would work.

    None of them stops a run: its models are trained and compared, and what is named here stays undecided.

    Args:
        data: content of ``reports/data.json``.
        config: the parameters.
    """
    rows = data.get("rows", {})
    if not {"read", "kept", "validation", "test"} <= set(rows):
        return ()
    found = [*_gate(rows, config), *_retraining(data, config)]
    kind = kind_named(config.run.task)
    if kind.route == "predict":
        labels = data.get("labels", {}) if kind.predicts_labels else {}  # grades are judged all together
        found += [
            *_drop(rows, labels, config),
            *_floor(rows, config, counted=kind.predicts_labels),
            *_labels(labels, config),
        ]
        found += _samples(rows, config)
    return tuple(found)


def _gate(rows: Mapping[str, int], config: RunConfig) -> Iterator[str]:
    asked, found = config.promote.min_rows, rows["test"]
    if found < asked:
        yield (
            f"promote.min_rows={asked}: there are {found} test rows, so that `secateur models promote` will hold every "
            f"model; promote.min_rows={found} or less works, or more rows"
        )


def _drop(rows: Mapping[str, int], labels: Mapping[str, Mapping[str, int]], config: RunConfig) -> Iterator[str]:
    """Say what the gate can show against a champion; the first model of a project has none to be compared with."""
    asked, level = config.promote.max_drop, config.promote.significance.level
    counts = [parts["test"] for parts in labels.values() if "test" in parts] or [rows["test"]]
    telling = effective_rows(counts, rows=rows["test"])
    shown = provable(telling, level=level)
    if asked == "auto":
        if shown > USUAL and not is_named(config, "promote.max_drop"):
            of_each = ", as many of each label," if labels else ""
            yield (
                f"promote.max_drop=auto allows {shown:g} against a champion: {rows['test']} test rows cannot show that "
                f"less is lost; {rows_for(USUAL, level=level)}{of_each} can show {USUAL:g}"
            )
    elif (often := passes(telling, asked, level=level)) < POWER - _ROUNDING:
        held = f"{100 * (1 - often):.0f} of 100 models as good as the champion" if often else "every model"
        enough = f"{rows_for(asked, level=level)} can, " if asked else ""
        yield (
            f"promote.max_drop={asked:g}: {rows['test']} test rows cannot show that less is lost, so that the gate "
            f"will hold {held}; {enough}promote.max_drop={max(USUAL, shown):g} or auto works"
        )


def _retraining(data: Mapping[str, Any], config: RunConfig) -> Iterator[str]:
    """Say which conditions on the source as it came would hold every retraining from it."""
    if config.clean.split != "none":
        return  # the rows that were counted are pieces of those that will be judged
    asked, (found, empty) = config.retrain.quality, _as_they_came(data)
    if found - empty < asked.min_rows:
        usable = found - empty
        yield (
            f"retrain.quality.min_rows={asked.min_rows}: there are {usable} rows with a text and a label, so that "
            f"`secateur retrain` will hold; retrain.quality.min_rows={usable} or less works, or more rows"
        )
    if empty > asked.max_empty * found:
        yield (
            f"retrain.quality.max_empty={asked.max_empty:g}: {empty} of {found} rows have no text or no label, so that "
            f"`secateur retrain` will hold; retrain.quality.max_empty={ceil(100 * empty / found) / 100:g} works"
        )


def _as_they_came(data: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows of ``ingest.source``, and those of them without a text or a label."""
    rules = [(rule["rule"], rule["rows"]) for rule in data.get("rules", ()) if rule["effect"] == "dropped"]
    of_test = sum(rows for rule, rows in rules if rule.endswith("(test_source)"))
    given = (data["rows"]["test"] + of_test) if data.get("source", {}).get("test") else 0
    return data["rows"]["read"] - given, sum(rows for rule, rows in rules if rule in ("empty_text", "missing_label"))


def _floor(rows: Mapping[str, int], config: RunConfig, *, counted: bool) -> Iterator[str]:
    """Say that a promise is less than chance; a row is a share of the score where answers are right or wrong."""
    found, promise = rows["validation"], config.prune.budget.max_drop
    name, drop = ("prune.max_drop", config.prune.max_drop) if promise is None else ("prune.budget.max_drop", promise)
    needed = ceil(CHANGED_SHARE / drop**2) if drop else 0
    if found < needed:
        one = f" (one row is {1 / found:.3f})" if counted else ""
        yield (
            f"{name}={drop:g}: {found} validation rows cannot tell such a loss from chance{one}; "
            f"{needed} can (clean.min_validation_rows, clean.validation_fraction), "
            f"or {name}={ceil(100 * (CHANGED_SHARE / found) ** 0.5) / 100:g}"
        )


def _labels(labels: Mapping[str, Mapping[str, int]], config: RunConfig) -> Iterator[str]:
    asked = config.promote.classes.min_rows
    few = {name: parts["test"] for name, parts in labels.items() if parts.get("test", asked) < asked}
    if few:
        named = ", ".join(f"{name} ({count})" for name, count in list(few.items())[:3])
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        yield (
            f"promote.classes.min_rows={asked}: the gate will not judge the labels {named}{more}, which have fewer "
            f"test rows; promote.classes.min_rows={max(1, min(few.values()))} judges all"
        )


def _samples(rows: Mapping[str, int], config: RunConfig) -> Iterator[str]:
    found = rows["test"]
    slices = config.promote.slices.min_rows
    if found < slices:
        yield f"promote.slices.min_rows={slices}: there are {found} test rows, so that the gate will judge no slice"
    asked = {"evaluate": config.evaluate.robustness.rows, "promote": config.promote.robustness.rows}
    if too_many := [f"{name}.robustness.rows={count}" for name, count in asked.items() if count > found]:
        yield f"{' and '.join(too_many)}: there are {found} test rows, and all of them are attacked"
