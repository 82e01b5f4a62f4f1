"""``run.processes: 2``: two real processes of gloo train together, the first writes, and all end together."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from secateur.errors import CheckFailed, DataError
from secateur.models.card import Card
from secateur.workflow import ranks
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.execution import execute
from secateur.workflow.params import propose, read_config
from secateur.workflow.project import Project
from secateur.workflow.rendering import update_pipeline
from secateur.workflow.stage import Stage
from secateur.workflow.stages import find_stage
from tests.integration.in_process import digests


@pytest.fixture
def shared_out(project: Path, forked_proofs: None) -> Project:
    """A finished project that asks for two processes since."""
    found = Project(project)
    propose(found, file=None, overrides=["run.processes=2"]).apply(found)
    update_pipeline(found, read_config(found))
    return found


def run(project: Project, address: str) -> None:
    config = read_config(project)
    execute(project, find_stage(config, project.root, address), config, DvcStore(project).identity(address))


def outputs(project: Project) -> dict[str, str]:
    return {name: digest for name, digest in digests(project.root).items() if not name.startswith(".secateur/")}


def test_two_processes_repeat_their_bits_and_score_as_one_does(shared_out: Project) -> None:
    model = shared_out.root / "models/baseline"
    alone = Card.read(model)
    run(shared_out, "baseline")
    first, together = outputs(shared_out), Card.read(model)
    assert together.weights_sha256 != alone.weights_sha256, "rows are added in another order, under other dropout"
    assert together.parameters["run.processes"] == 2
    assert "run.processes" not in alone.parameters, "cards of one process keep their bytes"
    run(shared_out, "baseline")
    assert outputs(shared_out) == first
    r1 = shared_out.root / "models/r1"
    alone_after_cut = Card.read(r1)
    run(shared_out, "prune@r1")
    for one, two in ((alone, together), (alone_after_cut, Card.read(r1))):
        assert two.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"], abs=0.05)
    left = {path.name for path in (shared_out.state / "processes" / "baseline").iterdir()}
    assert left == {"0.log", "1.log"}, "what the second process wrote is gone"


def _children() -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        if "secateur.workflow.rank" in " ".join(child.cmdline()):
            yield child


def test_a_killed_process_ends_the_stage_in_one_line_and_leaves_what_was(shared_out: Project) -> None:
    before, raised = outputs(shared_out), []

    def attempt() -> None:
        try:
            run(shared_out, "baseline")
        except CheckFailed as error:
            raised.append(error)

    stage = threading.Thread(target=attempt)
    stage.start()
    while len(found := sorted(_children(), key=lambda child: child.create_time())) < 2:
        time.sleep(0.02)
    found[1].kill()
    stage.join(60)
    assert not stage.is_alive()
    (error,) = raised
    assert str(error).startswith("baseline: process 2 of 2 was killed (signal 9), and the others were ended; nothing")
    assert len(str(error).splitlines()) == error.exit_code == 1
    assert outputs(shared_out) == before
    assert list(_children()) == []


def test_what_a_process_refuses_is_said_as_if_there_were_one(tmp_path: Path) -> None:
    project, stage = Project(tmp_path), Stage(name="baseline", inputs={}, parameters=())
    (tmp_path / "1.json").write_text(json.dumps(["DataError", "there are no rows"]))
    with pytest.raises(DataError, match=r"^there are no rows$"):
        ranks.tell(project, stage, {1: 2}, count=2, folder=tmp_path)
    with pytest.raises(CheckFailed, match=r"process 1 of 2 ended with 1, .*; 0\.log has what it said"):
        ranks.tell(project, stage, {0: 1}, count=2, folder=tmp_path)
    ranks.tell(project, stage, {}, count=2, folder=tmp_path)
