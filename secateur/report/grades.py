"""How models that tell grades are shown: weighted kappa in points, predicted against true grades, what is far off."""

from collections.abc import Sequence

from secateur.report import formats, numbers
from secateur.report.presentation import Json, Presentation, Score, Simple, Words
from secateur.report.scales import POINTS


def _simple_said(found: Json) -> str:
    return f"{found['name']}: weighted kappa {found['qwk']:.4f}, accuracy {found['accuracy']:.4f} on the same rows"


def _simple_remark(found: Json) -> tuple[str, str]:
    ends = f"{formats.score(found['qwk_low'])}–{formats.score(found['qwk_high'])}"
    return "What needs no model:", (
        f"{found['name']}, rounded to grades, reaches a weighted kappa of {formats.score(found['qwk'])} ({ends}) and "
        f"accuracy {formats.score(found['accuracy'])} on the same rows; one grade for all has 0."
    )


def _columns() -> Sequence[tuple[str, str]]:
    return ("accuracy", "accuracy"), ("macro_mae", "macro MAE")


PRESENTATION = Presentation(
    scale=POINTS,
    scores=(
        Score("qwk", "Weighted kappa", formats.score, note="quadratic"),
        Score("accuracy", "Accuracy", formats.score),
        Score("macro_mae", "Macro MAE", formats.score, note="grades, lower is better"),
        Score("mae", "MAE", formats.score, note="grades, lower is better"),
    ),
    columns=numbers.columns_for(("qwk", "weighted kappa"), *_columns()),
    sections=lambda shown: tuple(numbers.sections(shown)),
    compared=numbers.compared_by("weighted kappa"),
    words=Words(
        loss="squares per row, in units of the training rows",
        lead=(
            "Scores on {rows} test rows that no earlier stage has read; small print holds {interval} intervals. "
            "Weighted kappa counts by the square of how many grades an answer is off; 0 is chance. Errors are in "
            "grades."
        ),
    ),
    symbol="kappa",
    simple=Simple(_simple_said, _simple_remark),
)
