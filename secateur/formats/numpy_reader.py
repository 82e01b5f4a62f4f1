"""A static student without torch, transformers or ONNX Runtime: Python's own library and numpy.

``secateur export CKPT --to numpy`` writes this file beside the weights. From there it runs as it is:

    python reader.py "the room was quiet"

or ``Reader(folder).scores(text)`` in a program.
"""

import hashlib
import json
import math
import re
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {"F32": "<f4", "I8": "i1"}


class Characters(dict[int, str]):
    """What becomes of every character: a table for ``str.translate``, whose spaces part words."""

    def __init__(self, letters: dict[str, str], runs: list[tuple[int, int, str]]) -> None:
        """Take single characters with what stands for each, and runs of code points, ascending: first, last, form.

        In a form ``*`` is the character itself. What is in neither stays as it is.
        """
        super().__init__({ord(letter): form for letter, form in letters.items()})
        self._firsts = [first for first, _, _ in runs]
        self._runs = runs

    def __missing__(self, code: int) -> str:
        """Look a code point up among the runs."""
        place = bisect_right(self._firsts, code) - 1
        form = self._runs[place][2] if place >= 0 and code <= self._runs[place][1] else "*"
        return form.replace("*", chr(code))


class Reader:
    """An exported static student.

    Attributes:
        labels: in the order of the scores.
    """

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        """Read an export after its digests were checked.

        Raises:
            ValueError: a file differs from what ``card.json`` says of it.
        """
        root = Path(folder)
        for name, digest in json.loads((root / "card.json").read_text(encoding="utf-8"))["files"].items():
            if hashlib.sha256((root / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{root / name} differs from its digest in card.json: export it again")
        said: dict[str, Any] = json.loads((root / "reader.json").read_text(encoding="utf-8"))
        self.labels: list[str] = said["labels"]
        self._weights = read_tensors(root / "model.safetensors")
        self._characters = Characters(said["letters"], [(first, last, form) for first, last, form in said["runs"]])
        self._tokens = {token: number for number, token in enumerate(said["tokens"])}
        self._special = re.compile("|".join(map(re.escape, said["special"])))
        self._unknown, self._epsilon = int(said["unknown"]), float(said["layer_norm_eps"])
        self._longest_word, self._length, self._head = said["longest_word"], said["max_length"], said["head"]
        self._before, self._after, self._link = said["before"], said["after"], said["link"]

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, special ones included, at most as many as the model reads."""
        found, place = list(self._before), 0
        for special in self._special.finditer(text):
            found += self._pieces(text[place : special.start()])
            found.append(self._tokens[special.group()])
            place = special.end()
        found += [*self._pieces(text[place:]), *self._after]
        if len(found) <= self._length:
            return found
        return found[: self._head] + found[len(found) - self._length + self._head :]

    def logits(self, text: str) -> npt.NDArray[np.float64]:
        """Return the logits of a text, (labels,)."""
        weights, ids = self._weights, self.ids(text)
        summed = weights["scales"][ids].astype(np.float64) @ weights["embeddings"][ids]
        centred = summed / math.sqrt(max(len(ids), 1))
        centred -= centred.mean()
        normed = centred / math.sqrt(float(centred @ centred) / len(centred) + self._epsilon)
        hidden = weights["hidden.weight"] @ (normed * weights["norm.weight"] + weights["norm.bias"])
        hidden += weights["hidden.bias"]
        # GELU by the error function, which numpy does not have.
        hidden *= np.array([0.5 + 0.5 * math.erf(value / math.sqrt(2.0)) for value in hidden])
        found: npt.NDArray[np.float64] = weights["classifier.weight"] @ hidden + weights["classifier.bias"]
        return found

    def scores(self, text: str) -> dict[str, float]:
        """Return the probability of every label."""
        found = self.logits(text)
        shares = np.exp(found - found.max())
        return dict(zip(self.labels, (shares / shares.sum()).tolist(), strict=True))

    def _pieces(self, text: str) -> list[int]:
        return [piece for word in text.translate(self._characters).split(" ") if word for piece in self._word(word)]

    def _word(self, word: str) -> list[int]:
        """Return the longest tokens that a word begins with, and goes on with (WordPiece)."""
        if len(word) > self._longest_word:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            link = self._link if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if link + word[start:end] in self._tokens), None)
            if end is None:
                return [self._unknown]
            found.append(self._tokens[link + word[start:end]])
            start = end
        return found


def read_tensors(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file: the length of a header, the header in JSON, and the values."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, about in json.loads(content[8:start]).items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            values = np.frombuffer(content[start + first : start + last], dtype=_TYPES[about["dtype"]])
            tensors[name] = values.reshape(about["shape"])
    return tensors


if __name__ == "__main__":
    reader = Reader()
    for text in sys.argv[1:]:
        scores = reader.scores(text)
        label = max(scores, key=scores.__getitem__)
        sys.stdout.write(f"{label}\t{scores[label]:.4f}\t{text}\n")
