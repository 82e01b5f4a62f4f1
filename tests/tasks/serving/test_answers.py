"""What the server answers, and what it refuses."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from secateur.inference.prediction import Predictor
from tests.browser import CHROMIUM, evaluate
from tests.integration.registry_stand import Stand
from tests.tasks.serving.odd import Odd
from tests.tasks.serving.running import Running, running

TEXTS = ["a good day", "@somebody hated http://a.b/c", "?", "ﬁne", "dark " * 40, "naïve 好 😀", "my bad house"]
_PADDING = 1e-4
"""Padding changes the order of fp32 sums by 1e-7; the fitted weights of this model are a thousand times too large."""
LIMITS = {"max_texts": 8, "max_chars": 300, "max_body_bytes": 5000, "timeout_s": 5.0}


@pytest.fixture(scope="module")
def server(stand: Stand) -> Iterator[Running]:
    stand.registry.set_alias("tiny", "champion", "1")
    with running(stand.project, "models:/tiny@champion", **LIMITS) as started:
        yield started


def test_answers_are_those_of_predict_whatever_the_company(server: Running, stand: Stand) -> None:
    predictor = Predictor.load(stand.registry.checkpoint("models:/tiny/1"))
    assert predictor.encoder.text_rules is not None
    expected = [predictor.predict([text])[0] for text in TEXTS]
    together = server.predict(TEXTS, probabilities=True).json()
    assert together["model"] == {"name": "tiny", "version": "1"}
    assert [row["label"] for row in together["predictions"]] == [p.label for p in expected]
    for row, p in zip(together["predictions"], expected, strict=True):
        assert row["probabilities"] == pytest.approx(p.scores, abs=_PADDING)
        assert row["score"] == max(row["probabilities"].values())
    masked = server.predict(["@other hated https://x.y/"], probabilities=True).json()["predictions"][0]
    assert masked["probabilities"] == pytest.approx(expected[1].scores, abs=_PADDING), "handles and links are masked"


def test_an_empty_text_has_no_answer_and_says_why(server: Running) -> None:
    """As for the command ``predict``: the others keep theirs, and nothing is made up for it."""
    nothing = {"label": None, "score": None, "reason": "the text is empty"}
    among = server.predict(["a good day", "", " \t "], probabilities=True).json()
    assert among["predictions"][1:] == [nothing, nothing]
    assert among["predictions"][0] == server.predict("a good day", probabilities=True).json()["predictions"][0]
    assert server.predict("").json() == {"model": among["model"], "predictions": [nothing]}


def test_one_text_or_a_list(server: Running) -> None:
    alone, listed = server.predict("a good day"), server.predict(["a good day"])
    assert alone.json() == listed.json()
    assert set(alone.json()["predictions"][0]) == {"label", "score"}


@pytest.mark.parametrize(
    ("body", "status", "detail", "field"),
    [
        (b'{"texts": 3}', 422, "texts: input should be a valid array", "texts"),
        (b'{"texts": ["a", 5]}', 422, "texts.1: input should be a valid string", "texts.1"),
        (b'{"texts": ["a", null]}', 422, "texts.1: input should be a valid string", "texts.1"),
        (b'{"texts": []}', 422, "texts: value should have at least 1 item", "texts"),
        (json.dumps({"texts": ["a"] * 9}).encode(), 422, "texts: value should have at most 8 items", "texts"),
        (json.dumps({"texts": "é" * 301}).encode(), 422, "texts.0: string should have at most 300 char", "texts.0"),
        (b'{"text": "a"}', 422, "texts: field required", "texts"),
        (b'{"texts": "a", "probs": true}', 422, "probs: extra inputs are not permitted", "probs"),
        (b'{"texts": "a", "probabilities": "yes"}', 422, "probabilities: input should be a valid boo", "probabilities"),
        (b'["a"]', 422, 'the body must be an object such as {"texts": [', None),
        (b'{"texts": "a"', 400, "the body is not JSON: EOF while parsing", None),
        (b"", 400, "the body is not JSON: EOF while parsing", None),
        (b'{"texts": "\\ud800"}', 400, "the body is not JSON: ", None),
        (b"[" * 3000, 400, "the body is not JSON: recursion limit exceeded", None),
        (b'{"texts": "sch\xf6n"}', 400, "the body is not UTF-8: byte 0xf6 at offset 14", None),
        (b'{"texts": "' + b"a" * 5000 + b'"}', 413, "a body of more than 5000 bytes is not read", None),
        (b'{"texts": "' + b"a" * 9_000_000 + b'"}', 413, "a body of more than 5000 bytes is not read", None),
    ],
    ids=lambda value: None if not isinstance(value, bytes) else value[:24].decode("latin-1"),
)
def test_a_bad_request_is_refused_in_one_line(
    server: Running, body: bytes, status: int, detail: str, field: str | None
) -> None:
    response = server.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    said = response.json()
    assert said["detail"].startswith(detail)
    assert len(said["detail"].splitlines()) == 1
    assert said.get("field") == field
    assert server.predict("a good day").status_code == 200


def test_a_body_without_a_length_is_limited_too(server: Running) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    assert server.client.post("/predict", content=parts(), headers=headers).status_code == 413


def test_other_content_types_methods_and_paths(server: Running) -> None:
    form = server.client.post("/predict", data={"texts": "a"})
    assert (form.status_code, form.json()["detail"][:60]) == (
        415,
        "content type application/x-www-form-urlencoded is not read; ",
    )
    got = server.client.get("/predict")
    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    missing = server.client.get("/generate")
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no /generate; /docs lists what there is")


def test_a_body_that_does_not_arrive(stand: Stand) -> None:
    with running(stand.project, "models:/tiny/1", timeout_s=0.2) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        assert server.predict("a").status_code == 200


def test_a_full_queue_and_an_answer_that_takes_too_long(stand: Stand) -> None:
    odd = Odd()
    with (
        running(stand.project, "models:/tiny/1", served=odd.wrap, max_queue=3, timeout_s=1.0) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        odd.hold.clear()
        first = pool.submit(server.predict, "first")
        server.wait_for(lambda: odd.batches == [["first"]])
        waiting = [pool.submit(server.predict, ["b", "c"]), pool.submit(server.predict, "d")]
        server.wait_for(lambda: "secateur_waiting_texts 3.0" in server.client.get("/metrics").text)
        refused = server.predict("e")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["detail"] == "3 texts wait already (serve.max_queue); come again in 1 s"
        late = [first.result(), *(future.result() for future in waiting)]
        assert {response.status_code for response in late} == {504}
        assert late[0].json()["detail"] == "no answer within 1 s (serve.timeout_s)"
        odd.hold.set()
        assert server.predict("f").status_code == 200
        assert odd.batches == [["first"], ["f"]], "nobody classifies what nobody waits for"


def test_requests_that_come_together_share_a_batch_and_an_odd_one_fails_alone(stand: Stand) -> None:
    odd = Odd()
    with (
        running(stand.project, "models:/tiny/1", served=odd.wrap, max_batch=4) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        odd.hold.clear()
        first = pool.submit(server.predict, "first")
        server.wait_for(lambda: odd.batches == [["first"]])
        texts: list[Any] = [["good", "bad"], ["fine"], [Odd.POISON], ["calm", "dark"]]
        others = []
        for index, given in enumerate(texts):
            others.append(pool.submit(server.predict, given))
            total = float(sum(map(len, texts[: index + 1])))
            server.wait_for(
                lambda wanted=total: f"secateur_waiting_texts {wanted}" in server.client.get("/metrics").text
            )
        odd.hold.set()
        assert [f.result().status_code for f in [first, *others]] == [200, 200, 200, 500, 200]
        assert "RuntimeError" in others[2].result().json()["detail"]
        # Four texts fill a batch; it fails, so each request of it is tried alone; the last one had no room.
        assert odd.batches[1] == ["good", "bad", "fine", Odd.POISON]
        assert odd.batches[2:5] == [["good", "bad"], ["fine"], [Odd.POISON]]
        assert odd.batches[5:] == [["calm", "dark"]]


def test_figures_for_prometheus(server: Running) -> None:
    def value(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(server.client.get("/metrics").text)
        samples = [
            s for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
        ]
        return sum(sample.value for sample in samples)

    before = value("secateur_predictions_total", version="1"), value("secateur_requests_total", route="/predict")
    server.predict(["a", "b", "c"])
    server.predict(7)
    assert value("secateur_predictions_total", version="1") == before[0] + 3
    assert value("secateur_requests_total", route="/predict") == before[1] + 2
    assert value("secateur_requests_total", route="/predict", status="422") >= 1
    assert value("secateur_model_info", version="1", runtime="torch") == 1
    server.client.get("/nobody/asked")
    assert value("secateur_requests_total", route="other") >= 1, "unknown paths are one route"


def test_it_describes_itself(server: Running, stand: Stand) -> None:
    described = server.client.get("/model").json()
    assert (described["version"], described["runtime"], described["max_tokens"]) == ("1", "torch", 16)
    assert described["tags"]["secateur.commit"] == "0" * 40
    assert described["files"] == json.loads(stand.registry.version("models:/tiny/1").tags["secateur.artifacts"])
    openapi = server.client.get("/openapi.json").json()
    body = openapi["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["texts"]["anyOf"][1]["maxItems"] == LIMITS["max_texts"]


def test_its_documentation_needs_nothing_from_elsewhere(server: Running) -> None:
    answer = server.client.get("/docs")
    page = answer.text
    assert answer.status_code == 200
    assert not re.search(r"(?:src|href)=\"(?!/openapi\.json\"|data:,\")", page), "nothing is loaded"
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for said in ("POST</span> /predict", "GET</span> /health", "what a lovely day", "at most 8 items"):
        assert said in page
    assert server.client.get("/redoc").status_code == 404


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_a_browser_without_a_network_can_try_a_request(server: Running, tmp_path: Path) -> None:
    page = server.client.get("/docs").text
    script = """
        const asked = [];
        window.fetch = async (path, options) => {
          asked.push([path, options.method, options.body]);
          return {status: 200, text: async () => '{"a":1}'};
        };
        document.querySelector("form[data-path='/predict'] button").click();
        await new Promise(done => setTimeout(done, 50));
        const wide = document.documentElement.scrollWidth;
        return {asked, said: document.querySelector("form[data-path='/predict'] pre").textContent, wide};
    """
    found = evaluate(page, script, folder=tmp_path, width=360)
    assert [path for path, _, _ in found["asked"]] == ["/predict"]
    assert json.loads(found["asked"][0][2]) == {"texts": ["what a lovely day"]}
    assert found["said"] == '200\n{\n  "a": 1\n}'
    assert found["wide"] <= 360, "a phone needs no sideways scrolling"


def test_a_folder_is_served_as_it_is(stand: Stand) -> None:
    with running(stand.project, str(stand.registry.checkpoint("models:/tiny/2"))) as server:
        folder = stand.registry.checkpoint("models:/tiny/2")
        assert server.predict("a").json()["model"] == {"name": folder.name, "version": None}
        assert str(folder.parent) not in server.client.get("/model").text + server.client.get("/metrics").text
        assert server.client.get("/health").json()["following"] is None
