"""A promotion is taken over without a failed request; a version that is not in order is not."""

import threading
from dataclasses import replace
from pathlib import Path

import httpx
from mlflow import MlflowClient

from tests.integration.registry_stand import Stand
from tests.tasks.serving.running import Running, running

ALIAS = "models:/tiny@champion"


def _version(server: Running) -> str:
    response = server.predict("a good day")
    assert response.status_code == 200
    version: str = response.json()["model"]["version"]
    return version


def test_an_alias_moves_without_a_failed_request(stand: Stand) -> None:
    answers: list[list[tuple[int, str]]] = [[] for _ in range(8)]
    over = threading.Event()

    def ask(url: str, mine: list[tuple[int, str]]) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not over.is_set():
                response = client.post("/predict", json={"texts": ["a good day", "my bad house"]})
                mine.append((response.status_code, response.json()["model"]["version"]))

    with running(stand.project, ALIAS, poll_s=0.1) as server:
        clients = [threading.Thread(target=ask, args=(server.url, mine)) for mine in answers]
        for client in clients:
            client.start()
        server.wait_for(lambda: all(len(mine) > 5 for mine in answers))
        stand.registry.set_alias("tiny", "champion", "2")
        server.wait_for(lambda: all(mine[-1][1] == "2" for mine in answers))
        over.set()
        for client in clients:
            client.join(timeout=30)
        metrics = server.client.get("/metrics").text
    assert {status for mine in answers for status, _ in mine} == {200}
    for mine in answers:
        versions = [version for _, version in mine]
        assert versions == sorted(versions), "who was answered by the new one is never answered by the old one again"
        assert set(versions) == {"1", "2"}
    assert 'secateur_takeovers_total{outcome="taken"} 1.0' in metrics
    assert 'secateur_model_info{name="tiny",runtime="torch",version="1"} 0.0' in metrics
    assert 'secateur_model_info{name="tiny",runtime="torch",version="2"} 1.0' in metrics


def test_a_changed_byte_keeps_the_old_version_until_the_file_is_mended(stand: Stand) -> None:
    file = stand.stored("2", "model.safetensors")
    intact = file.read_bytes()
    with running(stand.project, ALIAS) as server:
        file.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
        try:
            stand.registry.set_alias("tiny", "champion", "2")
            server.look()
        finally:
            file.write_bytes(intact)
        assert _version(server) == "1"
        health = server.client.get("/health")
        assert health.status_code == 200, "it answers"
        assert (health.json()["status"], health.json()["rejected"]["version"]) == ("degraded", "2")
        assert f"{file.name} differs from its digest" in health.json()["rejected"]["reason"]
        assert "/" not in health.json()["rejected"]["reason"], "no folder of the server"
        assert 'secateur_rejected_version_info{version="2"} 1.0' in server.client.get("/metrics").text
        server.look()
        assert _version(server) == "1", "not tried at every look"
        stand.registry.set_alias("tiny", "champion", "1")
        server.look()
        assert server.client.get("/health").json()["status"] == "ok"
        stand.registry.set_alias("tiny", "champion", "2")
        server.look()
        assert _version(server) == "2"
        assert 'secateur_rejected_version_info{version="2"} 0.0' in server.client.get("/metrics").text


def test_a_version_whose_weights_are_no_numbers(stand: Stand) -> None:
    with running(stand.project, ALIAS) as server:
        stand.registry.set_alias("tiny", "champion", "3")
        server.look()
        assert _version(server) == "1"
        rejected = server.client.get("/health").json()["rejected"]
        assert rejected["version"] == "3"
    assert "classifier.bias holds NaN or infinity" in rejected["reason"]


def test_an_alias_that_is_gone_changes_nothing_but_health(stand: Stand) -> None:
    with running(stand.project, ALIAS) as server:
        MlflowClient(stand.registry.uri).delete_registered_model_alias("tiny", "champion")
        server.look()
        assert _version(server) == "1"
        health = server.client.get("/health").json()
        assert (health["status"], health["ready"]) == ("degraded", True)
        assert "champion" in health["registry"]


def test_a_version_by_number_is_not_left(stand: Stand, tmp_path: Path) -> None:
    with running(stand.project, "models:/tiny/1", poll_s=0.05) as server:
        stand.registry.set_alias("tiny", "champion", "2")
        assert server.client.get("/health").json()["following"] is None
        assert _version(server) == "1"


def test_a_version_for_single_texts_does_not_follow_one_for_pairs(stand: Stand) -> None:
    """Its requests have another form: whoever asks for pairs would be refused by it."""
    with running(stand.project, ALIAS, served=lambda first: replace(first, num_texts=2)) as server:
        stand.registry.set_alias("tiny", "champion", "2")
        server.look()
        health = server.client.get("/health").json()
        assert health["status"] == "degraded" and health["model"]["version"] == "1"
        assert health["rejected"]["reason"] == "it reads single texts, this server answers for pairs of texts"
