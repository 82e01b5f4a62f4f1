"""What a server that starts again takes for its own: of the same model; where it has no version, of the same files."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

import secateur.serving.live.shadow
from secateur.kinds.registry import kind_named
from secateur.scheduling.live import Judged, Live, Shadowed
from secateur.serving.live.shadow import Shadow
from secateur.serving.live.traffic import known_again
from secateur.serving.served import Served
from secateur.workflow.project import Project


def _shadowed(name: str, champion: str | None = "1") -> Shadowed:
    return Shadowed(name=name, champion=champion, challenger="3", texts=1000, disagreed=9)


@pytest.mark.parametrize(("name", "texts"), [("tweets", 1000), ("tweets-large", 0)])
def test_a_shadow_goes_on_with_counts_of_its_own_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, name: str, texts: int
) -> None:
    async def started(*_: Any) -> None:
        """Start nothing."""

    monkeypatch.setattr(secateur.serving.live.shadow, "ModelRegistry", lambda _: None)
    monkeypatch.setattr(Shadow, "_start", started)
    source = SimpleNamespace(name="tweets", version="1")
    champion = cast("Served", SimpleNamespace(source=source, kind=kind_named("classification")))
    shadow = Shadow(Project(tmp_path), "models:/tweets/3", champion, num_threads=1, max_queue=5)
    shadow.resume(_shadowed(name))
    asyncio.run(shadow._look())
    found = shadow.shadowed()
    assert (found.name, found.challenger, found.texts) == ("tweets", "3", texts)


@pytest.mark.parametrize(
    ("version", "is_same", "known"), [(None, False, False), (None, True, True), ("1", False, True), ("1", True, True)]
)
def test_what_has_no_version_is_known_by_its_files(version: str | None, is_same: bool, known: bool) -> None:
    judged = Judged(version=version, texts=10, right=9, value=0.9, low=0.6, high=1.0)
    shadow = _shadowed("tweets", version)
    before = Live(
        model="tweets", version=version, digest="", since="", written="", texts=10, window=100, reference_rows=None,
        missing=None, feedback=(judged,), shadow=shadow,
    )  # fmt: skip
    assert known_again(before, is_same=is_same) == (((judged,), shadow) if known else ((), None))
