"""Shards go to workers that see their folder; on a machine that sees another one nothing is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from secateur.data.stored_texts import StoredTexts, write_texts
from secateur.engines.base import Answer, Installed, Ticket, Work
from secateur.engines.of_shards import work_on
from secateur.engines.setting import read_setting
from secateur.workers.shard import _run
from secateur.workflow.project import Project
from tests.unit.data.test_cleaning import TEXT


class Cluster:
    """Does what it is sent at once, in a folder of its own if that is not the one of who asks."""

    def __init__(self, own: Path | None) -> None:
        self.own, self.titles = own, list[str]()

    def workers(self) -> Mapping[str, Installed | str]:
        return {}

    def submit(self, work: Work) -> Ticket:
        assert work.module == "secateur.workers.shard"
        self.titles.append(work.title)
        asked = {**work.asked, **({"folder": str(self.own)} if self.own else {})}
        return Done(_run(Project(Path()), asked))

    def close(self) -> None:
        """Nothing is open."""


class Done:
    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said = said

    def wait(self) -> Answer:
        return Answer("host, process 7", 0.0, 1.0, said=self.said)


@pytest.mark.parametrize("sees", [True, False])
def test_workers_of_another_machine_work_on_what_they_see(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sees: bool
) -> None:
    folder, other = tmp_path / "shards", tmp_path / "other"
    other.mkdir()
    (other / "sign").write_text("of somebody else")
    write_texts(folder / "a" / "came", ["one  text"])
    cluster, setting = Cluster(None if sees else other), read_setting("dask:tcp://host:8786")
    asked = [{"shard": "a", "rules": vars(TEXT), "sign": None}]
    work_on(cluster, setting, folder, "clean", "clean", asked, scratch="")
    assert [*StoredTexts([folder / "a" / "cleaned"])] == ["one text"]
    assert cluster.titles == ["clean: a look", *(["clean 1 of 1"] if sees else [])]
    told = f"clean: workers of {setting} do not see {folder}, through which shards pass; they are worked on here"
    assert caplog.messages == ([] if sees else [told])
