"""Texts from a checkpoint of a generator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from transformers import PreTrainedTokenizerBase

from secateur.data.documents import end_id, given_ids
from secateur.data.text_rules import TextRules, clean_texts
from secateur.errors import CheckpointError, ModelError
from secateur.families import family_of
from secateur.inference.decoding import Sampling, decode
from secateur.inference.language_model import LanguageModel, open_language_model
from secateur.inference.runners import held_runtime
from secateur.models.checkpoint import kind_of_folder, load_tokenizer
from secateur.models.construction import read_config
from secateur.models.folders import card_of

_BATCH_SIZE = 64
_UNFINISHED = "\ufffd"


@dataclass(frozen=True)
class Written:
    """One text.

    Attributes:
        prompt: what it starts with.
        label: what was asked for; None when nothing was.
        text: the prompt and what the model wrote after it.
        tokens: that the model wrote, the end included where there is one.
        finished: whether the model ended it; else it was cut at the limit.
    """

    prompt: str
    label: str | None
    text: str
    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True)
class Asked:
    """A text that somebody wants.

    Attributes:
        prompt: what it starts with; empty = from nothing.
        label: what it should be; needs a model with control tokens.
        seed: of its draws.
        row: its number among those with the same seed, so that equal prompts get different texts.
    """

    prompt: str
    label: str | None
    seed: int
    row: int


@final
@dataclass(frozen=True)
class Writer:
    """A causal language model with its tokenizer.

    Attributes:
        model: in the runtime that its folder is for.
        tokenizer: its own.
        controls: label -> the control token that stands in front of its texts; empty when there are none.
        context: tokens that the model reads, at most.
        text_rules: how its training texts were cleaned.
    """

    model: LanguageModel
    tokenizer: PreTrainedTokenizerBase
    controls: Mapping[str, str]
    context: int
    text_rules: TextRules | None

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can be asked for."""
        return tuple(self.controls)

    @property
    def max_length(self) -> int:
        """Tokens that it reads, at most."""
        return self.context

    @classmethod
    def load(cls, path: str | Path, *, num_threads: int = 1) -> "Writer":
        """Load a folder whose files match its card.

        Args:
            path: a checkpoint, or an ONNX export of one.
            num_threads: threads of ONNX Runtime; torch has one setting per process.

        Raises:
            CheckpointError: the folder holds no generator, or is damaged.
        """
        folder = Path(path)
        card = card_of(folder, verified=True)  # opening the model verifies
        kind = kind_of_folder(folder, card)
        if kind.route != "generate":
            raise CheckpointError(
                f"{folder} holds a model for {kind.name}, which writes no text; `secateur predict` asks it"
            )
        return cls(
            model=open_language_model(folder, runtime=held_runtime(folder), num_threads=num_threads),
            tokenizer=load_tokenizer(folder),
            controls=card.control,
            context=int(card.max_length or family_of(config := read_config(folder)).max_tokens(config)),
            text_rules=TextRules.of(card.text_rules),
        )

    def write(
        self,
        prompts: Sequence[str],
        *,
        sampling: Sampling,
        label: str | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Written]:
        """Continue prompts, cleaned as the training texts were; the order is kept, and text ``i`` draws as row ``i``.

        Args:
            prompts: beginnings; an empty one starts from nothing.
            sampling: how tokens are chosen.
            label: what the texts should be; needs a model with control tokens.
            on_text: is told the first text piece by piece, its prompt excluded.

        Raises:
            ModelError: the model does not know the label, or a prompt leaves no room in its context.
        """
        asked = [Asked(prompt, label, sampling.seed, row) for row, prompt in enumerate(prompts)]
        return self.write_for(asked, sampling=sampling, on_text=on_text)

    def write_for(
        self,
        asked: Sequence[Asked],
        *,
        sampling: Sampling,
        on_text: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> list[Written]:
        """Write texts for different askers at once; what they ask for together is ``sampling``, but for its seed.

        Args:
            asked: prompts with their labels and seeds.
            sampling: how tokens are chosen.
            on_text: is told the first text piece by piece, its prompt excluded.
            is_wanted: asked before every token; once it says no, texts end where they are.

        Raises:
            ModelError: the model does not know a label, or a prompt leaves no room in its context.
        """
        prompts = [one.prompt for one in asked]
        cleaned = clean_texts(prompts, self.text_rules)[0] if self.text_rules else prompts
        ids = [self._ids(one, prompt) for one, prompt in zip(asked, cleaned, strict=True)]
        written: dict[int, Written] = {}
        for chosen in _equally_long(ids):
            rows = self._decode(
                [ids[index] for index in chosen],
                [asked[index] for index in chosen],
                sampling=sampling,
                on_text=on_text if chosen[0] == 0 else None,
                is_wanted=is_wanted,
            )
            for index, tokens in zip(chosen, rows, strict=True):
                written[index] = self._written(cleaned[index], asked[index].label, tokens)
        return [written[index] for index in range(len(ids))]

    def require_room(self, asked: Asked) -> None:
        """Refuse what cannot be written.

        Raises:
            ModelError: the model does not know the label, or the prompt leaves no room in its context.
        """
        prompts = [asked.prompt]
        self._ids(asked, (clean_texts(prompts, self.text_rules)[0] if self.text_rules else prompts)[0])

    def _ids(self, asked: Asked, cleaned: str) -> list[int]:
        tokens = [*self._given(asked.label), *self._encode(cleaned)]
        if len(tokens) >= self.context:
            found = f"{len(tokens)} tokens, the model reads {self.context}"
            raise ModelError(f"the prompt that starts with {asked.prompt[:20]!r} has {found}; shorten it")
        return tokens

    def _given(self, label: str | None) -> tuple[int, ...]:
        if label is not None and label not in self.controls:
            known = f"known: {', '.join(self.controls)}" if self.controls else "it was trained without control tokens"
            raise ModelError(f"{label!r} is nothing that the model can be asked for; {known}")
        return given_ids(self.tokenizer, controls=self.controls, label=label)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else []

    def _decode(
        self,
        ids: Sequence[Sequence[int]],
        asked: Sequence[Asked],
        *,
        sampling: Sampling,
        on_text: Callable[[str], None] | None,
        is_wanted: Callable[[], bool],
    ) -> list[list[int]]:
        end = end_id(self.tokenizer)
        room = self.context - len(ids[0])
        limited = Sampling(min(sampling.max_tokens, room), sampling.temperature, sampling.top_p, sampling.seed)
        stream = None
        if on_text is not None:
            stream = _Stream(self.tokenizer, end=end, on_text=on_text)
        return decode(
            self.model,
            torch.tensor(ids, dtype=torch.int64),
            sampling=limited,
            end=end,
            banned=[token for token in self._special_ids() if token != end],
            rows=[one.row for one in asked],
            seeds=[one.seed for one in asked],
            on_token=stream,
            is_wanted=is_wanted,
        )

    def _special_ids(self) -> list[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        return sorted(index for index, token in added if token.special)

    def _written(self, prompt: str, label: str | None, tokens: Sequence[int]) -> Written:
        finished = bool(tokens) and tokens[-1] == end_id(self.tokenizer)
        text = self.tokenizer.decode(tokens[:-1] if finished else tokens)
        return Written(prompt=prompt, label=label, text=prompt + text, tokens=tuple(tokens), finished=finished)


class _Stream:
    """Turns tokens into pieces of text; the bytes of a character may come in several tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, end: int, on_text: Callable[[str], None]) -> None:
        self._tokenizer, self._end, self._on_text = tokenizer, end, on_text
        self._tokens: list[int] = []
        self._shown = 0

    def __call__(self, token: int) -> None:
        """Add a token, and tell what can be read by now."""
        if token == self._end:
            return
        self._tokens.append(token)
        text = self._tokenizer.decode(self._tokens)
        if not text.endswith(_UNFINISHED):
            self._on_text(text[self._shown :])
            self._shown = len(text)


def _equally_long(ids: Sequence[Sequence[int]]) -> list[list[int]]:
    """Split rows into batches of equal length: nothing is padded, so no mask can be wrong."""
    by_length: dict[int, list[int]] = {}
    for index, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(index)
    return [
        same[start : start + _BATCH_SIZE] for same in by_length.values() for start in range(0, len(same), _BATCH_SIZE)
    ]
