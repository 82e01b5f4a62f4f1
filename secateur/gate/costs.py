"""Conditions of the gate that any model has: measured time and bytes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from secateur.config.promote import PromoteLatencySection, PromoteSizeSection
from secateur.gate.condition import Condition


class Deployed(Protocol):
    """One model in its deployed form."""

    @property
    def bytes(self) -> int:
        """Of all files of the folder that is deployed."""
        ...

    @property
    def latency_ms(self) -> Sequence[float]:
        """Of every timed call, (repeats,), call by call beside those of the other model."""
        ...


def latency(challenger: Deployed, champion: Deployed | None, wanted: PromoteLatencySection) -> Condition:
    """Judge the median time of a call, alone and against the champion's."""
    times = np.asarray(challenger.latency_ms)
    median = float(np.median(times))
    limits, found, failed = [], [f"{median:.3f} ms"], []
    values = {"median_ms": median, "p95_ms": float(np.percentile(times, 95))}
    if wanted.max_ms is not None:
        limits.append(f"{wanted.max_ms:g} ms or less")
        if median > wanted.max_ms:
            failed.append(f"{median:.3f} ms is more than {wanted.max_ms:g} ms")
    if champion is not None:
        # Both calls of a ratio stand side by side, so a slow second of the machine slows both.
        ratio = float(np.median(times / np.asarray(champion.latency_ms)))
        values |= {"ratio": ratio, "champion_median_ms": float(np.median(champion.latency_ms))}
        found.append(f"{ratio:.3f} of the champion's time")
        if wanted.max_ratio is not None:
            limits.append(f"{wanted.max_ratio:g} of the champion's time or less")
            if ratio > wanted.max_ratio:
                failed.append(f"{ratio:.3f} of the champion's time is more than {wanted.max_ratio:g}")
    return _limited("latency", limits, found, failed, values)


def size(challenger: Deployed, champion: Deployed | None, wanted: PromoteSizeSection) -> Condition:
    """Judge the bytes, alone and against the champion's."""
    limits, found, failed = [], [f"{challenger.bytes} bytes"], []
    values: dict[str, float] = {"bytes": challenger.bytes}
    if wanted.max_bytes is not None:
        limits.append(f"{wanted.max_bytes} bytes or less")
        if challenger.bytes > wanted.max_bytes:
            failed.append(f"{challenger.bytes} bytes are more than {wanted.max_bytes}")
    if champion is not None:
        ratio = challenger.bytes / champion.bytes
        values |= {"ratio": ratio, "champion_bytes": champion.bytes}
        found.append(f"{ratio:.3f} of the champion's size")
        if wanted.max_ratio is not None:
            limits.append(f"{wanted.max_ratio:g} of the champion's size or less")
            if ratio > wanted.max_ratio:
                failed.append(f"{ratio:.3f} of the champion's size is more than {wanted.max_ratio:g}")
    return _limited("size", limits, found, failed, values)


def _limited(
    name: str, limits: Sequence[str], found: Sequence[str], failed: Sequence[str], values: Mapping[str, float]
) -> Condition:
    """Return a condition of which every limit may be missing."""
    asked = " and ".join(limits) or "no limit"
    reason = "; ".join(failed) or f"{', '.join(found)}; asked: {asked}"
    return Condition(name, asked, ", ".join(found), not failed, reason, values)
