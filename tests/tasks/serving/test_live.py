"""A server that watches its traffic: counts against the training rows, in a file without a text."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from secateur.config.serve import ServeSection
from secateur.errors import ConfigError, Occupied
from secateur.inference.prediction import Predictor
from secateur.kinds.registry import kind_named
from secateur.scheduling.live import LIVE, Live, read_live
from secateur.serving.live.gauges import Gauges
from secateur.serving.live.shadow import Shadow
from secateur.serving.live.traffic import Traffic
from secateur.serving.served import Served, load
from secateur.serving.server import require_watchable
from secateur.workflow.project import Project
from tests.integration.registry_stand import Stand, without_class
from tests.tasks.serving.running import Running, running
from tests.tiny import sentences

ALIAS = "models:/tiny@champion"
TEXTS = [text for text, _ in sentences(200, num_labels=3, seed=9)]
OTHER = [f"{text} наверное" for text in TEXTS]


@pytest.fixture(autouse=True)
def _nothing_before(stand: Stand) -> None:
    (stand.root / LIVE).unlink(missing_ok=True)


def _ask(server: Running, texts: list[str]) -> None:
    for start in range(0, len(texts), 50):
        assert server.predict(texts[start : start + 50]).status_code == 200


def _written(stand: Stand) -> Live:
    live = read_live(stand.project)
    assert live is not None
    return live


def test_drifted_traffic_is_told_and_other_traffic_is_not(stand: Stand) -> None:
    with running(stand.project, ALIAS, live=True, live_window=200) as server:
        _ask(server, TEXTS)
        server.tick()
        assert 'secateur_live_drifted{measure="tokens"} 0.0' in server.client.get("/metrics").text
        live = _written(stand)
        assert (live.texts, live.reference_rows, live.missing, live.drift) == (200, 600, None, None)
        assert set(live.windows[0].psi) == {"labels", "confidence", "lengths", "scripts", "tokens"}
        _ask(server, OTHER)
        server.tick()
        metrics = server.client.get("/metrics").text
    live = _written(stand)
    assert "tokens" in live.windows[1].drifted
    assert "200 texts that tiny version 1 was asked about are not like its training rows: " in str(live.drift)
    assert 'secateur_live_drifted{measure="tokens"} 1.0' in metrics
    assert "secateur_live_texts 400.0" in metrics
    kept = (stand.root / LIVE).read_text() + (stand.root / ".secateur" / "live_reference.json").read_text() + metrics
    beginnings = {" ".join(text.split()[:3]) for text in (*TEXTS, *OTHER)}
    assert [beginning for beginning in beginnings if beginning in kept] == [], "not even three words of a text"
    assert "наверное" not in kept


def test_a_server_that_starts_again_goes_on_and_a_new_version_begins_anew(stand: Stand) -> None:
    with running(stand.project, ALIAS, live=True, live_window=200) as server:
        _ask(server, TEXTS[:150])
    assert _written(stand).unfinished.texts == 150, "written at the end"
    with running(stand.project, ALIAS, live=True, live_window=200) as server:
        _ask(server, TEXTS[150:])
        server.tick()
        live = _written(stand)
        assert (live.texts, [window.texts for window in live.windows]) == (200, [200])
        stand.registry.set_alias("tiny", "champion", "2")
        server.look()
        _ask(server, TEXTS[:50])
        server.tick()
    live = _written(stand)
    assert (live.version, live.texts, live.windows, live.reference_rows) == ("2", 50, (), 600)


def test_where_there_are_no_training_rows_it_says_so_and_counts(stand: Stand, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(stand.registry.checkpoint("models:/tiny/1"), tmp_path / "model")
    with running(stand.project, str(folder), live=True, live_window=200) as server:
        _ask(server, TEXTS)
        server.tick()
    live = _written(stand)
    assert live.missing == "the training rows of model cannot be had: the folder lies in no project that has them"
    assert (live.texts, live.reference_rows, live.drift, live.windows[0].psi) == (200, None, None, {})
    shares = {measured.name: dict(zip(measured.bins, measured.current, strict=True)) for measured in live.measures}
    assert sum(shares["labels"].values()) == 200


def test_only_one_server_of_a_project_watches(stand: Stand) -> None:
    with running(stand.project, ALIAS, live=True), pytest.raises(Occupied, match="is written by another server"):
        Traffic(stand.project, _loaded(stand), window=100, max_ids=10, gauges=Gauges.make(CollectorRegistry()))


def _loaded(stand: Stand) -> Served:
    return load(stand.project, "models:/tiny/1", num_threads=1)


@pytest.mark.parametrize("kind", ["embedding", "generation"])
def test_a_model_that_tells_neither_labels_nor_numbers_is_not_watched(stand: Stand, kind: str) -> None:
    served = replace(_loaded(stand), kind=kind_named(kind))
    with pytest.raises(ConfigError, match=f"watches labels and numbers of whole texts; a model for {kind} tells none"):
        Traffic(stand.project, served, window=100, max_ids=10, gauges=Gauges.make(CollectorRegistry()))


@pytest.mark.parametrize(
    ("project", "workers", "message"),
    [(None, 1, "in a project, and there is none here"), (Project(Path("x")), 2, "serve.workers=2 are several")],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_loaded(
    project: Project | None, workers: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_watchable(project, ServeSection(live=True, workers=workers))


def test_a_shadow_needs_what_keeps_its_findings() -> None:
    with pytest.raises(ConfigError, match=r"serve\.shadow=models:/a@b needs serve\.live"):
        require_watchable(Project(Path("x")), ServeSection(shadow="models:/a@b"))


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"model": 3}), "x" * 5_000_000], ids=len)
def test_a_file_that_is_not_ours_counts_for_nothing(stand: Stand, content: str, caplog: Any) -> None:
    (stand.root / LIVE).parent.mkdir(exist_ok=True)
    (stand.root / LIVE).write_text(content)
    assert read_live(stand.project) is None
    [line] = caplog.messages
    assert line.startswith("reports/live.json counts for nothing: ")
    assert cast("int", len(line.splitlines())) == 1


def test_feedback_gives_live_accuracy_and_is_taken_once(stand: Stand) -> None:
    stand.registry.set_alias("tiny", "champion", "1")
    with running(stand.project, ALIAS, live=True) as server:
        asked = server.predict([*TEXTS[:20], ""]).json()["predictions"]
        assert "id" not in asked[-1], "an empty text has no answer that could be right"
        told = [{"id": row["id"], "label": row["label"]} for row in asked[:20]]
        told[0]["label"] = next(label for label in ("negative", "positive") if label != told[0]["label"])
        assert {server.client.post("/feedback", json=body).text for body in told} == {'{"counted":true}'}
        again = server.client.post("/feedback", json=told[0])
        assert (again.status_code, again.json()["field"]) == (404, "id")
        for body, detail in (
            ({"id": "x"}, "label: field required"),
            ({"id": "x" * 65, "label": "a"}, "id: string should have at most 64 characters"),
            ({"id": asked[0]["id"], "labels": []}, "label: field required"),
        ):
            refused = server.client.post("/feedback", json=body)
            assert (refused.status_code, refused.json()["detail"]) == (422, detail)
        server.tick()
        assert 'secateur_live_quality{bound="value"} 0.95' in server.client.get("/metrics").text
    [judged] = _written(stand).feedback
    assert (judged.version, judged.texts, judged.right) == ("1", 20, 19)
    assert judged.low == pytest.approx(0.7639, abs=1e-4)
    with running(stand.project, ALIAS) as server:
        assert "id" not in server.predict("a good day").json()["predictions"][0]
        assert server.client.post("/feedback", json=told[0]).json()["detail"].startswith("there is no /feedback")


def test_a_worse_challenger_disagrees_and_one_that_fails_is_told_and_dropped(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.serving.live.shadow.NICENESS", 0)  # other tests would go first
    worse = stand.register("worse", without_class(stand, 2))
    both = ("1", worse)
    said = [Predictor.load(stand.registry.checkpoint(f"models:/tiny/{version}")).predict(TEXTS) for version in both]
    differ = sum(one.label != other.label for one, other in zip(*said, strict=True))
    assert differ > 20
    stand.registry.set_alias("tiny", "champion", "1")
    settings = {"live": True, "shadow": "models:/tiny@challenger", "poll_s": 0.2, "shadow_queue": 200}
    with running(stand.project, ALIAS, **cast("Any", settings)) as server:
        shadow = server.shadow
        server.wait_for(lambda: shadow.shadowed().problem is None, within_s=90)
        _ask(server, [*TEXTS[:100], ""])
        server.wait_for(lambda: shadow.shadowed().texts + shadow.shadowed().dropped == 100)
        _ask(server, TEXTS[100:])
        server.wait_for(lambda: shadow.shadowed().texts + shadow.shadowed().dropped == 200)
        server.tick()
        metrics = server.client.get("/metrics").text
        found = _written(stand).shadow
        assert found is not None
        assert (found.champion, found.challenger, found.texts, found.dropped) == ("1", worse, 200, 0)
        assert found.disagreed == differ
        assert f'secateur_live_shadow_texts{{outcome="disagreed"}} {float(differ)}' in metrics
        assert shadow._process is not None
        shadow._process.kill()
        _ask(server, TEXTS[:50])
        server.wait_for(lambda: shadow.shadowed().problem is not None)
        _ask(server, TEXTS[50:])
        server.tick()
    found = _written(stand).shadow
    assert found is not None
    assert (found.texts, found.problem) == (200, "its process ended with code -9")


def test_what_a_shadow_has_no_time_for_is_dropped_and_counted(stand: Stand) -> None:
    shadow = Shadow(stand.project, "models:/tiny/2", _loaded(stand), num_threads=1, max_queue=5)
    said = _loaded(stand).model.predict(TEXTS[:8])
    shadow.offer(TEXTS[:8], said)
    assert shadow.shadowed().dropped == 0, "before it has started nothing is held"
    shadow._process = cast("Any", object())
    shadow.offer(TEXTS[:8], said)
    assert (len(shadow._queue), shadow.shadowed().dropped) == (5, 3)


@pytest.mark.parametrize("reference", ["models/r3", "models:/tiny", "tiny@champion"])
def test_a_shadow_is_a_registered_version(stand: Stand, reference: str) -> None:
    with pytest.raises(ConfigError, match=f"serve.shadow={reference} names no version"):
        Shadow(stand.project, reference, _loaded(stand), num_threads=1, max_queue=5)
