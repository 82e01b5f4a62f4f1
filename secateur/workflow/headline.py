"""What there is to say first about a run, on the terminal as on the page."""

from pathlib import Path

from secateur.report.headline import Headline, headline
from secateur.report.results import ReportData, read_results
from secateur.workflow.results import read_json
from secateur.workflow.tried import card_of


def headline_of(root: Path) -> Headline | None:
    """Return what there is to say first about the last evaluation; None before there was one."""
    reports, metrics = root / "reports", read_json(root / "reports" / "metrics.json")
    if not metrics:
        return None
    details = read_json(reports / "details.json")
    data = ReportData(
        title="",
        metrics=metrics,
        details=details,
        data={},
        latency=read_json(reports / "latency.json") or None,
        registered=None,
        gate=None,
        drift=None,
        retrain=None,
        cards={name: card_of(root / "models" / name) for name in ("baseline", *metrics["rounds"])},
        histories={},
        max_examples=0,
    )
    return headline(read_results(data), details)
