"""The page: one HTML file that needs nothing from anywhere, and reads the same with or without a screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from secateur.report import drift, formats, live, operations, plots, provenance, rounds, tables
from secateur.report.headline import Headline, headline, reference_runtime
from secateur.report.presentation import Evaluated
from secateur.report.refusal import reason_of
from secateur.report.results import (
    ModelResult,
    ReportData,
    form_of_scores,
    read_results,
    runtimes,
    skipped_rounds,
    stale_timings,
)

_TEMPLATES = Path(__file__).parent / "templates"


def render(data: ReportData) -> str:
    """Return the whole page as HTML: equal data give equal bytes, and every text in it is escaped.

    Raises:
        KeyError: metrics lack an entry or a number that ``evaluate`` always writes.
    """
    results, made = read_results(data), environment()
    chosen = headline(results, data.details)
    shared = _of_results(data, results, chosen)
    of_kind = _of_kind(made, Evaluated(results, data.details, chosen.best), shared=shared)
    there = {
        "evaluate": "Results",
        "prune": "Rounds",
        "baseline": "Training",
        **{section.anchor: section.title for section in of_kind},
        **({"robustness": "Attacks"} if shared["attacked"] else {}),
        "clean": "Data",
        **({"drift": "Drift"} if data.drift else {}),
        **({"live": "Live"} if data.live else {}),
        **({"gate": "Gate"} if data.gate else {}),
        "lineage": "Lineage",
    }
    return made.get_template("page.html.j2").render(
        shared
        | _of_rounds(data, results, runtime=shared["reference_runtime"], form=shared["form"])
        | _of_rows(data)
        | {"pairs_of_texts": results[0].card.num_texts == 2}
        | _of_traffic(data)
        | _of_origin(data, results)
        | {"title": data.title, "headline": chosen, "sections": there, "of_kind": of_kind}
    )


def environment() -> jinja2.Environment:
    """Return the templates of this room, with the filters that they use."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # for every file: tweets and labels hold whatever people wrote
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": formats.count,
        "score": formats.score,
        "sentence": formats.sentence,
        "percent": formats.percent,
        "points": formats.points,
        "signed": formats.signed,
        "times": formats.times,
        "digest": formats.digest,
        "runtime": formats.runtime,
        "reason": reason_of,
        "skipped": rounds.why_skipped,
        "num_mistakes": tables.num_mistakes,
    }
    return made


@dataclass(frozen=True)
class _Rendered:
    """A section that a kind of task brings."""

    anchor: str
    title: str
    html: Markup
    style: Markup


def _of_kind(made: jinja2.Environment, shown: Evaluated, *, shared: Mapping[str, Any]) -> list[_Rendered]:
    """Render the sections that the kind of task has, in its order."""

    def rendered(template: str, values: Mapping[str, Any]) -> Markup:
        return Markup(made.from_string(template).render({**shared, **values}).rstrip())  # noqa: S704 - it was escaped

    return [
        _Rendered(
            section.anchor,
            section.title,
            rendered(section.template, section.values),
            rendered(section.style, section.values),
        )
        for section in shown.results[0].kind.presentation().sections(shown)
    ]


def _of_results(data: ReportData, results: Sequence[ModelResult], chosen: Headline) -> dict[str, Any]:
    """Return what the table and the plots of the results show."""
    kind, details = results[0].kind, data.details
    shown, timed = kind.presentation(), runtimes(results)
    reference, level = data.metrics.get("reference"), details.get("confidence_level")
    attacked = tables.attacked(results)
    return {
        "measure": kind.measure,
        "scale": shown.scale,
        "words": shown.words,
        "better": "up" if kind.measure.higher_is_better else "down",
        "scores": [score for score in shown.scores if any(score.name in result.entry for result in results)],
        "results": results,
        "accepted": tables.accepted(results),
        "skipped": skipped_rounds(data),
        "dense": results[0],
        "best": chosen.best,
        "interval": formats.percent(level) if level else "confidence",
        "test_rows": details.get("test_rows", 0),
        "windows": details.get("windows", {}),
        "runtimes": timed,
        "reference_runtime": reference_runtime(results, details),
        "batches": sorted({batch for result in results for batch in result.tokens_per_second}),
        "deployed": details.get("deployed"),
        "form": form_of_scores(results, details),
        "has_deployed": any(result.deployed for result in results),
        "attacked": attacked,
        "attack_rows": details.get("robustness", {}).get("rows", 0),
        "stale_timings": stale_timings(data),
        "units": _units(results, timed),
        "simple": shown.simple if reference else None,
        "reference": {"name": details.get("reference"), **(reference or {})},
        "reference_verdict": details.get("reference_verdict"),
        "states": operations.states(data, results, best=chosen.best),
        "timing_facts": provenance.timing_facts(data),
        "plots": {
            "speed": plots.quality_against_speed(results, deployed=details.get("deployed")),
            "size": plots.quality_against_parameters(results),
            "score": plots.training_score(kind, data.histories),
            "loss": plots.training_loss(kind, data.histories),
            "attacks": plots.attacks(attacked, best=chosen.best),
            "lengths": plots.lengths(data.data.get("length_chars", {})),
        },
    }


def _units(results: Sequence[ModelResult], timed: Sequence[str]) -> dict[str, Any]:
    """Return the unit of every column, so that its numbers align."""
    return {
        "params": formats.unit_for(result.params for result in results),
        "nonembedding": formats.unit_for(result.nonembedding_params for result in results),
        "macs": formats.unit_for(result.macs for result in results),
        "bytes": formats.unit_for((result.bytes for result in results), "B"),
        "deployed": formats.unit_for((r.deployed.bytes for r in results if r.deployed), "B"),
        "ms": {
            name: formats.unit_for_ms(r.timings[name].median_ms for r in results if name in r.timings) for name in timed
        },
    }


def _of_rounds(data: ReportData, results: Sequence[ModelResult], *, runtime: str | None, form: str) -> dict[str, Any]:
    """Return what is told round by round."""
    deployed = str(data.details["deployed"]) if form else None
    return {
        "cards": rounds.round_cards(results, skipped_rounds(data), data.histories, runtime=runtime, deployed=deployed),
        "grids": tables.width_grids(results),
    }


def _of_rows(data: ReportData) -> dict[str, Any]:
    """Return what is told of the data: what became of the rows, and how they differ from the champion's."""
    report = data.data
    return {
        "rows": report.get("rows", {}),
        "rules": report.get("rules", ()),
        "remarks": [*report.get("source", {}).get("remarks", ()), *report.get("remarks", ())],
        "label_rows": tables.label_rows(report),
        "numbered_rows": "numbers" in report,
        "max_examples": data.max_examples,
        "source": provenance.source_line(report.get("source", {})),
        "drift": data.drift,
        "drift_measures": drift.measures(data.drift),
        "drift_shares": drift.shares(data.drift),
        "quality_conditions": operations.conditions((data.drift or {}).get("quality")),
    }


def _of_traffic(data: ReportData) -> dict[str, Any]:
    """Return what is told of the traffic of the server."""
    return {
        "live": data.live,
        "live_measures": live.measures(data.live),
        "live_drifted": live.drifted_windows(data.live),
        "live_feedback": live.feedback(data.live),
    }


def _of_origin(data: ReportData, results: Sequence[ModelResult]) -> dict[str, Any]:
    """Return what is told of the gate, and of where the models come from."""
    return {
        "gate": data.gate,
        "gate_conditions": operations.conditions(data.gate),
        "lineage": provenance.lineage(data, results),
        "environment": provenance.environment(results),
        "parameters": provenance.parameters(results),
    }
