"""Work that was sent: again where its worker was lost, refused as here, and never with another package."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.engines.base import Answer, Engine, EngineGone, Installed, Ticket, Work, WorkerLost
from secateur.engines.opening import require_same
from secateur.engines.performing import installed, perform
from secateur.engines.scratch import scratch_folder
from secateur.engines.sending import Sent
from secateur.engines.setting import read_setting
from secateur.errors import BudgetError, CheckFailed, ProjectError

WORK = Work("prune@r2", "secateur.workers.stage", {}, {}, Installed("1", "a"))
DONE = Answer("host, process 7", 1.0, 2.0, said={"outputs": {}})
KILLED = replace(DONE, said=None, failed="was killed by SIGKILL: it printed nothing", killed=True)


class Cluster:
    """Answers one after the other; None is a worker that was lost."""

    def __init__(self, *answers: Answer | None, found: Mapping[str, Installed | str] | None = None) -> None:
        self.answers, self.found = list(answers), found or {}

    def workers(self) -> Mapping[str, Installed | str]:
        return self.found

    def submit(self, work: Work) -> Ticket:
        return self

    def wait(self) -> Answer:
        answer = self.answers.pop(0)
        if answer is None:
            raise WorkerLost("tcp://10.0.0.7:4711")
        return answer

    def close(self) -> None:
        """Nothing is open."""


def test_what_was_lost_is_told_and_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Sent(Cluster(None, KILLED, DONE), WORK).answer() == DONE
    assert [record.getMessage() for record in caplog.records] == [
        "prune@r2: the worker tcp://10.0.0.7:4711 was lost; it runs again, which changes no bit",
        "prune@r2: on the worker host, process 7 it was killed by SIGKILL: it printed nothing; it runs again, which "
        "changes no bit",
    ]


def test_three_losses_are_enough() -> None:
    with pytest.raises(CheckFailed, match=r"^prune@r2 was tried 3 times, and the worker \S+ was lost; nothing was rep"):
        Sent(Cluster(None, None, None), WORK).answer()


def test_what_the_body_refuses_is_said_as_if_it_ran_here() -> None:
    with pytest.raises(BudgetError, match=r"^ask for 0\.2 or more$"):
        Sent(Cluster(replace(DONE, said=None, refused=("BudgetError", "ask for 0.2 or more"))), WORK).answer()
    with pytest.raises(CheckFailed, match=r"^prune@r2 on the worker host, process 7 ended with 1: Oops; nothing was"):
        Sent(Cluster(replace(DONE, said=None, failed="ended with 1: Oops")), WORK).answer()


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (Installed("0.0.1", "a"), "has secateur 0.0.1, and here is "),
        (replace(installed(), code="0123"), r"has other code of secateur \S+ \(0123, here "),
        ("has no secateur, or one that knows no engines", "has no secateur, or one"),
    ],
)
def test_a_worker_with_another_package_is_refused(there: Installed | str, said: str) -> None:
    cluster: Engine = Cluster(found={"tcp://10.0.0.7:4711": there})
    with pytest.raises(EngineGone, match=f"^SECATEUR_ENGINE=dask: the worker tcp://10.0.0.7:4711 {said}") as caught:
        require_same(read_setting("dask"), cluster)
    assert caught.value.exit_code == 2
    if isinstance(there, Installed):  # one that joined later
        answer = perform(replace(WORK, installed=there))
        assert answer.refused is not None
        assert answer.refused[0] == ProjectError.__name__
        assert "install the same on both" in answer.refused[1]


def test_a_module_that_fails_tells_its_last_lines(tmp_path: Path) -> None:
    work = replace(WORK, module="secateur.no_such", installed=installed(), scratch=str(tmp_path))
    answer = perform(work)
    assert answer.failed is not None
    assert answer.failed.startswith("ended with 1: ")
    assert "No module named secateur.no_such" in answer.failed
    assert not answer.killed


def test_folders_of_workers_that_were_killed_are_removed_and_no_others(tmp_path: Path) -> None:
    left, young = tmp_path / "secateur-worker-1", tmp_path / "secateur-worker-2"
    for folder in (left, young):
        folder.mkdir()
        (folder / "lock").touch()
    import os

    os.utime(left, (1, 1))
    with scratch_folder(str(tmp_path)) as folder:
        assert folder.is_dir()
        assert not left.exists()
        assert young.exists()
        assert len(list(tmp_path.iterdir())) == 2
    assert not folder.exists()
