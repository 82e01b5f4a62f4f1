"""Clients that ask a server for labels, all in one process: ``... benchmarks.http_load KIND URL TEXTS NUM SECONDS``.

Every client keeps its connection and sends its next text when it has the answer to the last one. With a sixth argument
it begins another connection after so many requests (0 for none), with a seventh it shows that bearer token. SIGTERM
ends it before the time. Who answers over https is believed whatever its certificate.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp


def main(kind: str, url: str, texts: str, num: str, seconds: str, renew: str = "0", token: str = "") -> None:
    """Print every answer as JSON: text, label, version, problem, ms, and when it came, in seconds."""
    asked = json.loads(Path(texts).read_text(encoding="utf-8"))
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    settings: dict[str, Any] = {"num": int(num), "seconds": float(seconds), "renew": int(renew), "shown": shown}
    answers = asyncio.run(_ask(kind, url, texts=asked, **settings))
    json.dump({"answers": answers}, sys.stdout)


async def _ask(
    kind: str, url: str, *, texts: Sequence[str], num: int, seconds: float, renew: int, shown: Mapping[str, str]
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    start, ended_early = time.perf_counter(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended_early.set)
    # Both are sent one text per request; what is around it is each server's own.
    address = f"{url}/predict" if kind == "secateur" else f"{url}/invocations"
    bodies = [json.dumps({"texts": text} if kind == "secateur" else {"inputs": [text]}).encode() for text in texts]

    async def client(number: int, session: aiohttp.ClientSession) -> None:
        index, asked = number, 0
        while (began := time.perf_counter()) - start < seconds and not ended_early.is_set():
            answer: dict[str, Any] = {"text": index % len(texts), "problem": None, "version": None, "label": None}
            asked += 1
            last = {"Connection": "close"} if renew and asked % renew == 0 else {}
            headers = {"Content-Type": "application/json", **shown, **last}
            try:
                async with session.post(address, data=bodies[answer["text"]], headers=headers) as response:
                    content = await response.read()
                    if response.status != 200:
                        answer["problem"] = f"{response.status}: {content[:200]!r}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                answer["problem"] = f"{type(error).__name__}: {error}"
            ended = time.perf_counter()
            if answer["problem"] is None:
                answer |= _read(content)
            answers.append({**answer, "ms": 1000 * (ended - began), "at": ended - start})
            index += num

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=False)) as session:
        await asyncio.gather(*(client(number, session) for number in range(num)))
    return answers


def _read(content: bytes) -> dict[str, Any]:
    said = json.loads(content)
    version = said["model"]["version"] if "model" in said else None
    return {"version": version, "label": said["predictions"][0]["label"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
