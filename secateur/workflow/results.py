"""What a run has measured, read back for tables: the terminal's, Prefect's and the registry's."""

import json
from pathlib import Path
from typing import Any

from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import Card


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or an empty mapping when there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def kind_of(root: Path) -> Kind:
    """Return the kind of task of the models of a run: that of the dense one.

    Raises:
        ConfigError: no package brings it any more.
    """
    return kind_named(Card.found_in(root / "models" / "baseline").task or DEFAULT)


def round_rows(root: Path, item: str) -> list[dict[str, Any]]:
    """Return the rows of the artifact of one round: what was asked, and what was tried, achieved and validated."""
    card = Card.found_in(root / "models" / item)
    rows = [{"what": "accepted", "value": str(card.accepted)}]
    if card.reason:
        rows.append({"what": "reason", "value": card.reason})
    shown = {"asked": card.asked, "achieved": card.came_to.achieved, "metrics": card.came_to.metrics}
    for group, values in shown.items():
        for name, value in (values or {}).items():
            rows.append({"what": f"{group}: {name}", "value": _shown(value)})
    return rows


def comparison(root: Path) -> list[dict[str, Any]]:
    """Return one row per model, dense first: size, quality and measured time where there is one.

    The row of a rolled-back round is about what it tried; that of a round which never ran says no more than so, by
    ``accepted``.

    ``<runtime>_ms`` and ``<runtime>_speedup`` come from reports/latency.json; ``budget`` (its kind), ``budget_asked``
    and ``budget_achieved`` (fractions of dense, of sparsity the share that is gone) from the cards; the others,
    ``deployed_*`` and ``robust_*`` among them, from reports/metrics.json. Of generators, ``<runtime>_ms`` is the time
    of a token, and ``tokens_per_second_<batch>`` what so many texts at once come to.
    """
    metrics = read_json(root / "reports" / "metrics.json")
    if not metrics:
        return []
    measured = read_json(root / "reports" / "latency.json")
    rows = []
    for name, entry in {"baseline": metrics["baseline"], **metrics["rounds"]}.items():
        row = {"model": name, **entry, **_budget(Card.found_in(root / "models" / name))}
        for result in measured.get("results", []):
            if result["checkpoint"] == name:
                row[f"{result['runtime']}_ms"] = result["median_ms"]
                row[f"{result['runtime']}_speedup"] = result["speedup"]
        for result in measured.get("throughput", []):
            if result["checkpoint"] == name:
                row[f"tokens_per_second_{result['batch']}"] = result["tokens_per_second"]
        rows.append(row)
    return rows


def reference(root: Path) -> dict[str, Any]:
    """Return the scores of the simple model beside the others, its ``name``, and what is to be said (``verdict``)."""
    scores = read_json(root / "reports" / "metrics.json").get("reference")
    if not scores:
        return {}
    details = read_json(root / "reports" / "details.json")
    return {"name": details.get("reference"), "verdict": details.get("reference_verdict"), **scores}


def _budget(card: Card) -> dict[str, Any]:
    """Return what a round was asked for and what it came to; nothing for the dense model."""
    for kind, asked in (card.asked or {}).items():
        achieved = (card.came_to.achieved or {}).get(kind)
        measured = {} if achieved is None else {"budget_achieved": achieved}
        return {"budget": kind, "budget_asked": asked, **measured}
    return {}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
