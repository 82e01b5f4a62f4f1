"""What the registry keeps about a model beside its files: the names of tags and aliases, and what a tag may hold.

Anybody who reaches the registry may write tags. What is not of ours counts for nothing, or is refused by its name.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from secateur.config.base import Runtime
from secateur.errors import CheckFailed
from secateur.files import to_json
from secateur.models.card import Card

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""The aliases: what is in use, what was built last, and the champion before."""

KEY = "secateur.key"
STAGE = "secateur.stage"
STATE = "secateur.state"
WEIGHTS = "secateur.weights_sha256"
FILES = "secateur.files"
INPUTS = "secateur.inputs"
FINGERPRINT = "secateur.fingerprint"

ARTIFACTS = "secateur.artifacts"
"""Every file of a version, the cards and the deployed form included: path in the version -> sha256, as JSON."""

WRAPPER = "secateur.wrapper"
"""The files that MLflow puts around the folders of a version: name -> sha256, as JSON."""

RUNTIME = "secateur.runtime"
COMMIT = "secateur.commit"
REPRODUCIBLE = "secateur.reproducible"
DIRTY_FILES = "secateur.dirty_files"
FLOW_RUN = "secateur.flow_run_id"
DATA = "secateur.data_md5"
DATA_REPORT = "secateur.data_report_md5"
GATE = "secateur.gate"
VERDICT = "secateur.verdict"
SIGNATURE = "secateur.signature"
ROLLED_BACK = "secateur.rolled_back."
"""The beginning of one tag per round that was not accepted."""

MANIFEST = "secateur.manifest"
"""What a version was when it was registered, see ``secateur/registry/manifest.py``."""

ENTRY = "secateur.manifest."
"""The beginning of one tag per thing that happened to a version afterwards."""

APPROVAL = "secateur.approval."
"""The beginning of one tag per key that approves of a version."""

TRANSITION = "secateur.transition"
HISTORY = "secateur.history."
"""The beginning of one tag of the registered model per event; ``TRANSITION`` is the journal of a move."""

DIGESTS = (ARTIFACTS, WRAPPER, FILES)
"""What a version consists of."""

LOADED = frozenset({*DIGESTS, WEIGHTS, RUNTIME})
"""What says which files of a version are opened, and by what."""

MAX_CHARS = 5000
"""That a tag of MLflow may have."""

_OURS = "secateur."
_OF_CARD = {
    KEY: "key",
    STAGE: "stage",
    STATE: "state",
    WEIGHTS: "weights_sha256",
    FILES: "files",
    INPUTS: "inputs",
    FINGERPRINT: "fingerprint",
}


def sha256_of(file: str) -> str:
    """Return the tag that holds the digest of a file that was stored with the build (``dvc.lock``)."""
    return f"{_OURS}{file.partition('.')[0]}_sha256"


SIGNED = (
    *DIGESTS, WEIGHTS, RUNTIME, KEY, STAGE, COMMIT, DATA,
    sha256_of("dvc.lock"), sha256_of("params.yaml"), sha256_of("constraints.txt"),
)  # fmt: skip
"""What a signature covers."""


@dataclass(frozen=True)
class VersionTags(Mapping[str, str]):
    """The tags of a registered version: the texts as they are kept, and what ours say."""

    texts: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, tag: str) -> str:
        return self.texts[tag]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of_card(cls, card: Card) -> "VersionTags":
        """Return the tags that repeat what a card says."""
        return cls({tag: _text(getattr(card, name)) for tag, name in _OF_CARD.items()})

    def with_(self, texts: Mapping[str, str]) -> "VersionTags":
        """Return these tags and others; of the same name, the others."""
        return VersionTags({**self.texts, **texts})

    def agree_with(self, card: Card) -> bool:
        """Tell whether those of the tags that repeat a card say what it says, but for ``FILES``."""
        said = VersionTags.of_card(card)
        return all(said[tag] == self[tag] for tag in _OF_CARD if tag in self and tag != FILES)

    @property
    def ours(self) -> dict[str, str]:
        """Those whose name is one of ours."""
        return {tag: text for tag, text in self.items() if tag.startswith(_OURS)}

    @property
    def stage(self) -> str:
        """The stage that made the version (``prune@r1``); empty where nothing is said."""
        return self.get(STAGE, "")

    @property
    def runtime(self) -> Runtime:
        """What it predicts with; versions from before there was a choice say nothing and predict with torch."""
        return cast("Runtime", self.get(RUNTIME, "torch"))

    @property
    def commit(self) -> str:
        """The commit that it was made from; empty where nothing is said."""
        return self.get(COMMIT, "")

    @property
    def is_reproducible(self) -> bool:
        """Whether it was made from a clean tree."""
        return self.get(REPRODUCIBLE) == "true"

    @property
    def data_md5(self) -> str | None:
        """The digest of the rows that it was trained from."""
        return self.get(DATA)

    def digests(self, tag: str, *, label: str) -> dict[str, str]:
        """Return the digests in a tag; none without it.

        Raises:
            CheckFailed: it holds something else; ``label`` names the version.
        """
        values = self.json(tag, otherwise={})
        if isinstance(values, dict) and all(isinstance(digest, str) for digest in values.values()):
            return values
        raise CheckFailed(f"{label}: the tag {tag} holds no digests, so no file can be checked; register it again")

    def json(self, tag: str, *, otherwise: Any = None) -> Any:
        """Return the JSON in a tag; ``otherwise`` without the tag, None where it holds none."""
        if tag not in self:
            return otherwise
        try:
            return json.loads(self[tag])
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Aliases(Mapping[str, str]):
    """The aliases of a registered model: alias -> number of a version."""

    numbers: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, alias: str) -> str:
        return self.numbers[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, version: str) -> tuple[str, ...]:
        """Return the aliases that point at a version, in alphabetical order."""
        return tuple(sorted(alias for alias, number in self.items() if number == version))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)
