"""Work on a Ray cluster: one that is there, or processes on this machine that end with the run."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from secateur.engines.base import Answer, EngineGone, Installed, Ticket, Work, WorkerLost
from secateur.engines.performing import installed, perform
from secateur.engines.setting import Setting

_LOST = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)
_ANSWER_S = 60


class RayEngine:
    """One connection to Ray; a process can have no second one."""

    def __init__(self, setting: Setting, *, num_workers: int) -> None:
        """Connect to the address, or start Ray with as many processors as there shall be workers.

        Raises:
            EngineGone: nobody answers at the address.
        """
        self._setting = setting
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # who asks for none still sees those there are
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if setting.address is None:
            options |= {"num_cpus": num_workers, "include_dashboard": False}
        try:
            ray.init(address=setting.address, **options)
        except (ConnectionError, ValueError, RuntimeError, ImportError) as error:
            raise self._gone(f"nobody answers there ({' '.join(str(error).split())[:120]})") from error

    def workers(self) -> Mapping[str, Installed | str]:
        """Ask a process on every node."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise self._gone("it has no node with a processor")
        asked = {
            node["NodeManagerAddress"]: ray.remote(installed)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote()
            for node in nodes
        }
        return {name: _answer(reference) for name, reference in asked.items()}

    def submit(self, work: Work) -> Ticket:
        """Send work off to a node with a free processor, and a free GPU where the work needs one."""
        remote = ray.remote(perform).options(num_cpus=1, num_gpus=1 if work.on_gpu else 0, max_retries=0)
        return _RayTicket(remote.remote(work), self)

    def close(self) -> None:
        """Disconnect, and end Ray where it was started for this run."""
        ray.shutdown()

    def _gone(self, what: str) -> EngineGone:
        return EngineGone(f"{self._setting}: {what}; start Ray (`ray start --head`), or ask for another engine")


@dataclass(frozen=True)
class _RayTicket:
    reference: Any
    engine: RayEngine

    def wait(self) -> Answer:
        try:
            answer = ray.get(self.reference)
        except _LOST as error:
            raise WorkerLost(type(error).__name__) from error
        except (ConnectionError, ray.exceptions.RaySystemError) as error:
            raise self.engine._gone("it went away while it was at work") from error
        assert isinstance(answer, Answer)
        return answer


def _answer(reference: Any) -> Installed | str:
    try:
        found = ray.get(reference, timeout=_ANSWER_S)
    except (ImportError, AttributeError):
        return "has no secateur, or one that knows no engines"
    except ray.exceptions.RayError as error:
        return " ".join(f"did not answer: {type(error).__name__}".split())
    assert isinstance(found, Installed)
    return found
