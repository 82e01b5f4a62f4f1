"""Which figures of a server the gate takes for those of a champion and a challenger."""

from pathlib import Path

import pytest

from secateur.files import write_json
from secateur.gate.shadow import Beside
from secateur.registry.judgement import _beside
from secateur.scheduling.live import LIVE, Live, Shadowed
from secateur.workflow.project import Project


@pytest.mark.parametrize(("name", "found"), [("tweets", Beside(1000, 9)), ("tweets-large", None)])
def test_a_version_of_another_model_with_the_same_number_is_another_one(
    tmp_path: Path, name: str, found: Beside | None
) -> None:
    live = Live(
        model="tweets", version="1", digest="", since="", written="", texts=1000, window=100, reference_rows=None,
        missing=None, shadow=Shadowed(name=name, champion="1", challenger="3", texts=1000, disagreed=9),
    )  # fmt: skip
    write_json(tmp_path / LIVE, live.model_dump(mode="json"))
    assert _beside(Project(tmp_path), "tweets", ("1", "3")) == found
