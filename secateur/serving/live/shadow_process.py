"""The process of a shadow: reads texts from its standard input, a JSON object a line, and writes what it says of them.

It ends with its standard input, that is, with the server.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Load what the first line asks for, and answer the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    asked = json.loads(sys.stdin.readline())
    os.nice(asked["niceness"])
    try:
        _answer_all(asked, out)
    # It is told in a line, whatever it is; there is nobody else to tell.
    except Exception as error:  # noqa: BLE001
        _write(out, {"problem": " ".join(str(error).split()) or type(error).__name__})


def _answer_all(asked: dict[str, Any], out: TextIO) -> None:
    import torch

    from secateur.readers.pairs import has_words
    from secateur.serving.live.feedback import field_of, truth_of
    from secateur.serving.live.shadow import described
    from secateur.serving.served import load
    from secateur.workflow.project import Project

    torch.set_num_threads(asked["num_threads"])
    served = load(Project(Path(asked["root"])), asked["reference"], num_threads=asked["num_threads"])
    field = field_of(served.kind)
    _write(out, {"does": described(served)})
    for line in sys.stdin:
        texts = json.loads(line)["texts"]
        assert all(map(has_words, texts)), "an empty text has no answer to compare"
        _write(out, {"said": [truth_of(said, field) for said in served.model.predict(texts)]})


def _write(out: TextIO, values: dict[str, Any]) -> None:
    out.write(json.dumps(values) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
