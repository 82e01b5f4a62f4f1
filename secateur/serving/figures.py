"""What Prometheus reads. Several processes add up their figures through files, as the client library does it."""

import os
from dataclasses import dataclass
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@final
@dataclass(frozen=True)
class Figures:
    """One set per application."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    batch_seconds: Histogram
    batch_texts: Histogram
    labels: Counter
    tokens: Counter
    waiting: Gauge
    model: Gauge
    rejected: Gauge
    takeovers: Counter

    @classmethod
    def make(cls) -> "Figures":
        """Make the figures, all zero."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as many lines again, which nobody plots
        own = CollectorRegistry()
        return cls(
            registry=own,
            requests=Counter("secateur_requests", "Requests by route and status", ["route", "status"], registry=own),
            request_seconds=Histogram(
                "secateur_request_seconds", "From the first byte to the last", ["route"], buckets=_SECONDS, registry=own
            ),
            batch_seconds=Histogram(
                "secateur_batch_seconds", "Answering one batch", buckets=_SECONDS, registry=own
            ),
            batch_texts=Histogram("secateur_batch_texts", "Texts in a batch", buckets=_TEXTS, registry=own),
            labels=Counter("secateur_predictions", "Answers by label and version", ["label", "version"], registry=own),
            tokens=Counter("secateur_generated_tokens", "Tokens written, by version", ["version"], registry=own),
            waiting=Gauge(
                "secateur_waiting_texts", "Texts in the queue", registry=own, multiprocess_mode="livesum"
            ),
            model=Gauge(
                "secateur_model_info", "1 for the version that answers", ["name", "version", "runtime"],
                registry=own, multiprocess_mode="livesum",
            ),
            rejected=Gauge(
                "secateur_rejected_version_info", "1 for the version that the alias points at and that was refused",
                ["version"], registry=own, multiprocess_mode="livesum",
            ),
            takeovers=Counter("secateur_takeovers", "Versions taken over or rejected", ["outcome"], registry=own),
        )  # fmt: skip

    def text(self) -> bytes:
        """Return the exposition of all processes of this server."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
