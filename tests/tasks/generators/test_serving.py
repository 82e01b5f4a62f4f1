"""A generator behind HTTP."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from secateur.inference.decoding import Sampling
from secateur.inference.writing import Writer
from tests.tasks.generators.stand import NAME, GeneratorStand
from tests.tasks.serving.running import Running, running

LIMITS = {"max_texts": 8, "max_chars": 40, "max_tokens": 20}


@pytest.fixture(scope="module")
def server(made: GeneratorStand) -> Iterator[Running]:
    made.registry.set_alias(NAME, "champion", "1")
    with running(made.project, f"models:/{NAME}@champion", **LIMITS) as started:
        yield started


@pytest.fixture(scope="module")
def writer(made: GeneratorStand) -> Writer:
    return Writer.load(made.registry.checkpoint(f"models:/{NAME}/1"))


def _ask(server: Running, **body: Any) -> httpx.Response:
    return server.client.post("/generate", json=body)


def test_texts_are_those_of_the_command_line(server: Running, writer: Writer) -> None:
    prompts = ["酒店", "", "酒店"]
    found = _ask(server, prompt=prompts, control="pos", max_tokens=9, temperature=0.7, top_p=0.9, seed=5).json()
    expected = writer.write(prompts, sampling=Sampling(9, 0.7, 0.9, 5), label="pos")
    assert found["model"] == {"name": NAME, "version": "1"}
    assert [text["text"] for text in found["texts"]] == [text.text for text in expected]
    assert [text["tokens"] for text in found["texts"]] == [len(text.tokens) for text in expected]


def test_one_prompt_or_none_at_all(server: Running) -> None:
    alone, listed = _ask(server, prompt="酒店").json(), _ask(server, prompt=["酒店"]).json()
    assert alone == listed
    assert _ask(server).json()["texts"][0]["prompt"] == ""


def test_a_text_does_not_depend_on_those_that_are_written_beside_it(server: Running) -> None:
    asked = [{"prompt": "手机", "control": label, "seed": seed} for seed in range(6) for label in ("pos", "neg")]
    alone = [_ask(server, **body).json()["texts"] for body in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = [answer.json()["texts"] for answer in pool.map(lambda body: _ask(server, **body), asked)]
    assert together == alone
    batches = [line for line in server.client.get("/metrics").text.splitlines() if "batch_texts_sum" in line]
    assert float(batches[0].split()[-1]) >= 2 * len(asked)


def test_pieces_come_as_they_are_written_and_add_up(server: Running) -> None:
    whole = _ask(server, prompt="服务", seed=3).json()
    with server.client.stream("POST", "/generate", json={"prompt": "服务", "seed": 3, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [part for part in answer.read().decode().split("\n\n") if part]
    pieces = [json.loads(event.removeprefix("data: "))["text"] for event in events[:-1]]
    assert len(pieces) > 1
    assert "服务" + "".join(pieces) == whole["texts"][0]["text"]
    assert events[-1].startswith("event: done\ndata: ")
    assert json.loads(events[-1].partition("data: ")[2]) == whole


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"prompt": "a", "control": "angry"}, "control", "nothing that the model can be asked for; known: neg, pos"),
        ({"prompt": "长" * 30}, "prompt.0", "tokens, the model reads 24; shorten it"),
        ({"prompt": "长" * 41}, "prompt.0", "string should have at most 40 characters"),
        ({"prompt": ["a"] * 9}, "prompt", "at most 8 items"),
        ({"prompt": "a", "max_tokens": 21}, "max_tokens", "input should be less than or equal to 20"),
        ({"prompt": "a", "temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"prompt": "a", "top_p": 0}, "top_p", "input should be greater than 0"),
        ({"prompt": "a", "seed": -1}, "seed", "greater than or equal to 0"),
        ({"prompt": ["a", "b"], "stream": True}, "stream", "one prompt can be streamed, found 2"),
        ({"prompt": "长" * 30, "stream": True}, "prompt.0", "shorten it"),
        ({"texts": "a"}, "texts", "extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_refuses_with_the_field_and_one_line(server: Running, body: dict[str, Any], field: str, detail: str) -> None:
    answer = _ask(server, **body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert detail in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_what_the_model_is_stands_there_and_no_labels_are_predicted(server: Running) -> None:
    described = server.client.get("/model").json()
    assert (described["task"], described["labels"], described["max_tokens"]) == ("generation", ["neg", "pos"], 24)
    assert server.client.get("/health").json()["status"] == "ok"
    assert server.client.post("/predict", json={"texts": "a"}).status_code == 404
    _ask(server, prompt="")
    assert 'secateur_generated_tokens_total{version="1"}' in server.client.get("/metrics").text


def test_the_alias_is_followed(made: GeneratorStand, server: Running) -> None:
    try:
        made.registry.set_alias(NAME, "champion", "2")
        server.look()
        assert _ask(server, prompt="").json()["model"]["version"] == "2"
        assert server.client.get("/health").json()["status"] == "ok"
    finally:
        made.registry.set_alias(NAME, "champion", "1")
        server.look()


def test_nobody_writes_for_who_has_gone(made: GeneratorStand, monkeypatch: pytest.MonkeyPatch) -> None:
    held, steps = threading.Event(), []
    decode = "secateur.inference.writing.decode"
    import secateur.inference.writing

    original = secateur.inference.writing.decode

    def slow(*arguments: Any, is_wanted: Any, **options: Any) -> Any:
        held.wait(timeout=20)
        steps.append(is_wanted())
        return original(*arguments, is_wanted=is_wanted, **options)

    with running(made.project, f"models:/{NAME}/1", timeout_s=0.5) as started:
        monkeypatch.setattr(decode.rpartition(".")[0] + ".decode", slow)
        answer = _ask(started, prompt="")
        assert (answer.status_code, answer.json()["detail"]) == (504, "no answer within 0.5 s (serve.timeout_s)")
        held.set()
        started.wait_for(lambda: bool(steps))
    assert steps == [False]
