"""What a server would have written of its traffic."""

from pathlib import Path

from secateur.files import write_json
from secateur.scheduling.live import LIVE, Live, Window


def write_live(root: Path, *, psi: float, missing: str | None = None) -> None:
    """Write a file with one window whose label shares have this index; the limit is 0.25."""
    window = Window(ended="2026-01-05T10:00:00+00:00", texts=1000, psi={"labels": psi}, limits={"labels": 0.25})
    live = Live(
        model="tiny",
        version="3",
        digest="d" * 64,
        since="2026-01-05T09:00:00+00:00",
        written="2026-01-05T10:00:00+00:00",
        texts=1000,
        window=1000,
        reference_rows=None if missing else 600,
        missing=missing,
        windows=(window,),
    )
    write_json(root / LIVE, live.model_dump(mode="json"))
