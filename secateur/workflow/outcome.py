"""What became of the stages of a run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from secateur.workflow import last_look
from secateur.workflow.execution import has_effects
from secateur.workflow.project import Project
from secateur.workflow.stage import Stage

Action = Literal["cached", "restored", "run", "measured"]


@dataclass(frozen=True)
class Outcome:
    """A manifest: references and digests, never bytes.

    Attributes:
        stage: address of the stage.
        action: cached = nothing to do; restored = checked out of the cache; run = executed;
            measured = only what is never compared was written again.
        key: identity of the stage.
        seconds: how long it took.
        outputs: path -> md5 of every output.
    """

    stage: str
    action: Action
    key: str
    seconds: float
    outputs: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a result store."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Undo ``as_json``."""
        return cls(**values)


def nothing_to_do(project: Project, graph: Sequence[Stage]) -> list[Outcome] | None:
    """Return the manifests of a run that would do nothing, and None where it would do something.

    Args:
        project: held exclusively by the caller.
        graph: its stages, by a dvc.yaml and a code.lock that are current.
    """
    addresses = [stage.address for stage in graph]
    keys = last_look.recall(project) or _look(project, addresses)
    if any(address not in keys for address in addresses) or not all(has_effects(project, stage) for stage in graph):
        return None
    return [Outcome(address, "cached", keys[address], 0.0) for address in addresses]


def _look(project: Project, addresses: Sequence[str]) -> dict[str, str]:
    """Ask DVC which stages are up to date; return address -> key of those."""
    from secateur.workflow.dvc_store import DvcStore  # half a second

    began, store = last_look.begin(project), DvcStore(project)
    keys = {address: identity.key for address, identity in store.unchanged().items()}
    if set(addresses) <= keys.keys() and (looked_at := store.looked_at()):
        last_look.remember(project, keys, looked_at, began=began)
    return keys
