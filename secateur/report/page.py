"""The page: one HTML file that needs nothing from anywhere, and reads the same with or without a screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from secateur.report import drift, formats, operations, plots, provenance, rounds, samples, slice_rows, tables
from secateur.report.headline import headline, reference_runtime
from secateur.report.refusal import reason_of
from secateur.report.results import ModelResult, ReportData, read_results, runtimes, skipped_rounds, stale_timings

_TEMPLATES = Path(__file__).parent / "templates"


def render(data: ReportData) -> str:
    """Return the whole page as HTML: equal data give equal bytes, and every text in it is escaped.

    Raises:
        KeyError: metrics lack an entry or a number that ``evaluate`` always writes.
    """
    return environment().get_template("page.html.j2").render(_context(data))


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
        "perplexity": formats.perplexity,
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


def _context(data: ReportData) -> dict[str, Any]:
    results = read_results(data)
    confidence_level = data.details.get("confidence_level")
    deployed = data.details.get("deployed")
    skipped = skipped_rounds(data)
    chosen = headline(results, data.details)
    reference = reference_runtime(results, data.details)
    labels = [str(label) for label in data.details.get("labels", ())]
    timed = runtimes(results)
    is_text = results[0].text is not None
    slices = () if is_text else slice_rows.slice_rows(results, data.details, best=chosen.best)
    return {
        "sections": (
            ("evaluate", "Results", True),
            ("prune", "Rounds", True),
            ("baseline", "Training", True),
            ("writing", "Texts", is_text),
            ("samples", "Samples", is_text),
            ("classes", "Classes", not is_text),
            ("slices", "Slices", bool(slices)),
            ("mistakes", "Mistakes", not is_text),
            ("robustness", "Attacks", bool(tables.attacked(results))),
            ("clean", "Data", True),
            ("drift", "Drift", bool(data.drift)),
            ("gate", "Gate", bool(data.gate)),
            ("lineage", "Lineage", True),
        ),
        "states": operations.states(data, results, best=chosen.best),
        "cards": rounds.round_cards(results, skipped, data.histories, runtime=reference),
        "slices": slices,
        "gate": data.gate,
        "gate_conditions": operations.conditions(data.gate),
        "drift": data.drift,
        "drift_measures": drift.measures(data.drift),
        "drift_shares": drift.shares(data.drift),
        "quality_conditions": operations.conditions((data.drift or {}).get("quality")),
        "changes": () if is_text else slice_rows.changes(results),
        "title": data.title,
        "results": results,
        "accepted": tables.accepted(results),
        "skipped": skipped,
        "dense": results[0],
        "headline": chosen,
        "best": chosen.best,
        "interval": formats.percent(confidence_level) if confidence_level else "confidence",
        "labels": labels,
        "test_rows": data.details.get("test_rows", 0),
        "runtimes": timed,
        "reference_runtime": reference,
        "deployed": deployed,
        "has_deployed": any(result.deployed for result in results),
        "attacked": tables.attacked(results),
        "attack_rows": data.details.get("robustness", {}).get("rows", 0),
        "stale_timings": stale_timings(data),
        "units": {
            "params": formats.unit_for(result.params for result in results),
            "nonembedding": formats.unit_for(result.nonembedding_params for result in results),
            "macs": formats.unit_for(result.macs for result in results),
            "bytes": formats.unit_for((result.bytes for result in results), "B"),
            "deployed": formats.unit_for((r.deployed.bytes for r in results if r.deployed), "B"),
            "ms": {
                name: formats.unit_for_ms(r.timings[name].median_ms for r in results if name in r.timings)
                for name in timed
            },
        },
        "plots": {
            "speed": plots.quality_against_speed(results),
            "size": plots.quality_against_parameters(results),
            "score": plots.training_score(data.histories),
            "loss": plots.training_loss(data.histories),
            "attacks": plots.attacks(tables.attacked(results)),
            "lengths": plots.lengths(data.data.get("length_chars", {})),
        },
        "grids": tables.width_grids(results),
        "classes": tables.class_rows(results, labels, best=chosen.best),
        "matrices": tables.confusion_matrices(results, labels),
        "numbered": tables.has_long_headings(labels),
        "pairs": tables.frequent_confusions(results, labels),
        "rows": data.data.get("rows", {}),
        "rules": data.data.get("rules", ()),
        "remarks": [*data.data.get("source", {}).get("remarks", ()), *data.data.get("remarks", ())],
        "label_rows": tables.label_rows(data.data),
        "max_examples": data.max_examples,
        "source": provenance.source_line(data.data.get("source", {})),
        "lineage": provenance.lineage(data, results),
        "environment": provenance.environment(results),
        "timing_facts": provenance.timing_facts(data),
        "parameters": provenance.parameters(results),
        "is_text": is_text,
        "reference": data.metrics.get("reference"),
        "reference_verdict": data.details.get("reference_verdict"),
        "reference_name": data.details.get("reference"),
        **(_text_context(data, results, chosen.best) if is_text else {}),
    }


def _text_context(data: ReportData, results: Sequence[ModelResult], best: ModelResult | None) -> dict[str, Any]:
    """Return what only the page of a generator shows."""
    controls = [str(label) for label in data.details.get("controls", ())]
    rows = samples.writing_rows(results, controls=controls, real=data.details.get("real_texts", {}))
    return {
        "batches": sorted({batch for result in results if result.text for batch in result.text.tokens_per_second}),
        "controls": controls,
        "judge": data.details.get("judge"),
        "judged": any(row.control for row in rows),
        "writing": rows,
        "generation": data.details.get("generation", {}),
        "sample_groups": samples.sample_groups(results, best=best),
        "sample_titles": samples.sample_titles(results, best=best),
    }
