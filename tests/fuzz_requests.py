"""Requests as they should not be: ``python -m tests.fuzz_requests --inputs 10000 --seed 1``.

A real server of a tiny model is sent what no client should send: good requests of every route with bytes of their head
or body changed, doubled, moved, cut, with odd values in their JSON, sent in pieces, or not to the end. Each is answered
below 500 in one line, or not at all where it was no request; no answer takes more than ``--patience`` seconds. Between
them a good request is answered as at the beginning, and in the end the server has said nothing of a traceback.

Inputs are numbered: what one is follows from ``--seed`` and its number. Several are on their way at once, since the
server waits for the rest of those that have none. Prints a line of JSON per finding, at the end the counts, and fails
when there was a finding.
"""

import io
import json
import logging
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fuzz_files import changed
from tests.fuzz_readers import damaged_bytes
from tests.fuzzing import parser_of

_BODIES: tuple[tuple[str, Any], ...] = (
    ("/predict", {"texts": ["a good day", "my awful house"], "probabilities": True}),
    ("/predict", {"texts": "a good day"}),
    ("/feedback", {"id": "0" * 16, "label": "negative"}),
)
_GETS = ("/health", "/ready", "/model", "/metrics", "/docs", "/openapi.json", "/")
LIMITS = {"max_texts": 8, "max_chars": 300, "max_body_bytes": 5000, "timeout_s": 5.0, "header_timeout_s": 2.0}
_CHECK = 100
_AT_ONCE = 12


def request(draw: random.Random, host: str) -> bytes:
    """Return the bytes of one."""
    if draw.random() < 0.2:
        whole = f"{draw.choice(('GET', 'HEAD', 'PUT'))} {draw.choice(_GETS)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        return _some_bytes(draw, whole)
    path, values = draw.choice(_BODIES)
    for _ in range(draw.choice((0, 1, 1, 2))):
        values = changed(draw, values)
    body = json.dumps(values).encode()
    if draw.random() < 0.4:
        body = _some_bytes(draw, body)
    length = len(body) if draw.random() < 0.9 else draw.choice((0, 1, len(body) + 1, 10**12, -1))
    kind = (
        "application/json" if draw.random() < 0.95 else draw.choice(("text/plain", "", "application/json; charset=x"))
    )
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
    return (_some_bytes(draw, head) if draw.random() < 0.4 else head) + body


def _some_bytes(draw: random.Random, content: bytes) -> bytes:
    for _ in range(draw.choice((1, 1, 2, 4))):
        content = damaged_bytes(draw, content)
    return content


def ask(address: tuple[str, int], content: bytes, *, patience_s: float, ends: bool = False) -> bytes:
    """Send bytes, and the end of them where asked; return what comes until the other side has answered or closes."""
    found = b""
    with socket.create_connection(address, timeout=patience_s) as connection:
        with suppress(OSError):
            connection.sendall(content)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                found += part
                if _is_whole(found, has_body=not content.startswith(b"HEAD ")):
                    break
    return found


def _is_whole(found: bytes, *, has_body: bool) -> bool:
    head, ended, body = found.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(ended and lengths and len(body) >= int(lengths[0]) * has_body)


def answers_of(found: bytes, *, has_body: bool = True) -> list[bytes]:
    """Take what came on a connection apart: some bytes are two requests, which get an answer each."""
    answers = []
    while found:
        head, _, rest = found.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)\r?$", head)
        size = len(rest) if length is None else int(length[1]) * (has_body or bool(answers))
        answers.append(found[: len(head) + 4 + size])
        found = rest[size:]
    return answers


def problem_of(found: bytes, *, has_body: bool = True) -> tuple[str, str | None]:
    """Return the first status of what came, and what is wrong with any of it."""
    if not found:
        return "closed", None
    looked_at = [_problem_of_one(answer) for answer in answers_of(found, has_body=has_body)]
    return looked_at[0][0], next((wrong for _, wrong in looked_at if wrong), None)


def _problem_of_one(answer: bytes) -> tuple[str, str | None]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line = head.partition(b"\r\n")[0]
    words = line.split(b" ", 2)
    if not line.startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        return "no answer", f"it is no answer: {line[:100]!r}"
    status = int(words[1])
    if status >= 500 and status != 503:
        return str(status), f"{line!r} {body[:300]!r}"
    if b"chunked" in head:
        body = b"".join(body.split(b"\r\n")[1::2])  # what uvicorn says itself of what is no request
    if b"Traceback" in body or (status >= 400 and len(body.strip().splitlines()) > 1):
        return str(status), f"more than a line: {body[:300]!r}"
    return str(status), None


def run(
    numbers: range, address: tuple[str, int], *, seed: int, patience_s: float, minutes: float = 1e9
) -> dict[str, Any]:
    """Send them to a server; return the counts and findings."""
    counts, findings, said = Counter[str](), [], io.StringIO()
    handler, deadline, host = logging.StreamHandler(said), time.monotonic() + 60 * minutes, f"{address[0]}:{address[1]}"
    good = request_of("/predict", _BODIES[1][1], host)

    def send(number: int) -> tuple[int, bytes, str, str | None]:
        draw = random.Random(f"{seed} {number}")
        content, ends = request(draw, host), draw.random() < 0.3
        try:
            found = ask(address, content, patience_s=patience_s, ends=ends)
            return number, content, *problem_of(found, has_body=not content.startswith(b"HEAD "))
        except OSError as error:
            return number, content, "stuck", f"{type(error).__name__} after {patience_s:g} s"

    def answer() -> bytes:
        return ask(address, good, patience_s=patience_s).partition(b"\r\n\r\n")[2]

    logging.getLogger().addHandler(handler)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        expected = answer()
        for begin in range(0, len(numbers), _CHECK):
            if time.monotonic() > deadline:
                break
            for number, content, status, wrong in pool.map(send, numbers[begin : begin + _CHECK]):
                counts[status] += 1
                if wrong:
                    findings.append({"number": number, "what": wrong, "request": repr(content[:300])})
            if _label(now := answer()) != _label(expected):
                findings.append({"number": numbers[begin], "what": f"after these a good request gets {now[:200]!r}"})
    logging.getLogger().removeHandler(handler)
    if "Traceback" in said.getvalue():
        findings.append({"number": -1, "what": said.getvalue()[-2000:]})
    return {"requests": sum(counts.values()), "findings": findings, "statuses": dict(sorted(counts.items()))}


def _label(body: bytes) -> Any:
    try:
        return json.loads(body)["predictions"][0]["label"]
    except (ValueError, LookupError, TypeError):
        return None


def request_of(path: str, values: Any, host: str) -> bytes:
    """Return a good one."""
    body = json.dumps(values).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, int]]:
    from tests.integration.registry_stand import Stand
    from tests.tasks.serving.running import running

    stand = Stand(folder / "project")
    stand.register("baseline")
    with running(stand.project, "models:/tiny/1", **LIMITS) as server:
        yield address_of(server.url)


def address_of(url: str) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def main() -> int:
    """See the module."""
    parser = parser_of(__doc__, patience_s=15.0, of="answer")
    asked = parser.parse_args()
    numbers, began = range(asked.first, asked.first + asked.inputs), time.monotonic()
    with tempfile.TemporaryDirectory() as home, _server(Path(home) / "fuzz") as address:
        found = run(numbers, address, seed=asked.seed, patience_s=asked.patience, minutes=asked.minutes)
    for finding in found["findings"]:
        sys.stdout.write(json.dumps(finding) + "\n")
    counts = {**found, "findings": len(found["findings"]), "seconds": round(time.monotonic() - began, 1)}
    sys.stdout.write(json.dumps(counts) + "\n")
    return 1 if found["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
