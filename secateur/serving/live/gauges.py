"""What Prometheus reads of the traffic. Names are fixed; labels are those of the model, a hundred at most."""

from dataclasses import dataclass
from typing import final

from prometheus_client import CollectorRegistry, Gauge

from secateur.scheduling.live import Judged, Shadowed
from secateur.serving.live.windows import Windows


@final
@dataclass(frozen=True)
class Gauges:
    """One set per application."""

    texts: Gauge
    psi: Gauge
    limit: Gauge
    drifted: Gauge
    shares: Gauge
    reference: Gauge
    quality: Gauge
    feedback: Gauge
    shadow: Gauge
    disagreement: Gauge

    @classmethod
    def make(cls, registry: CollectorRegistry) -> "Gauges":
        """Make the gauges beside the figures of a server."""
        return cls(
            texts=Gauge("secateur_live_texts", "Texts of this version that were watched", registry=registry),
            psi=Gauge(
                "secateur_live_psi", "Stability index of the last window against the training rows", ["measure"],
                registry=registry,
            ),
            limit=Gauge(
                "secateur_live_psi_limit", "What the index of the last window may be", ["measure"], registry=registry
            ),
            drifted=Gauge(
                "secateur_live_drifted", "1 where the last window is beyond its limit", ["measure"], registry=registry
            ),
            shares=Gauge(
                "secateur_live_label_share", "Share of a label among the answers of the open window", ["label"],
                registry=registry,
            ),
            reference=Gauge(
                "secateur_live_reference_rows", "Training rows that the traffic is compared with; 0 = none",
                registry=registry,
            ),
            quality=Gauge(
                "secateur_live_quality",
                "Of this version by its feedback: share of right answers, of numbers their mean error", ["bound"],
                registry=registry,
            ),
            feedback=Gauge("secateur_live_feedback_texts", "Texts of that feedback", registry=registry),
            shadow=Gauge(
                "secateur_live_shadow_texts", "Texts for the shadow of this version by outcome", ["outcome"],
                registry=registry,
            ),
            disagreement=Gauge(
                "secateur_live_shadow_disagreement", "Share of texts that the shadow answers differently", ["bound"],
                registry=registry,
            ),
        )  # fmt: skip

    def clear(self) -> None:
        """Forget the version before."""
        for gauge in (self.psi, self.limit, self.drifted, self.shares, self.quality, self.shadow, self.disagreement):
            gauge.clear()

    def show_feedback(self, judged: Judged | None) -> None:
        """Show what feedback says of the version that answers."""
        self.feedback.set(0 if judged is None else judged.texts)
        if judged is not None:
            for bound in ("value", "low", "high"):
                self.quality.labels(bound).set(getattr(judged, bound))

    def show_shadow(self, shadowed: Shadowed) -> None:
        """Show how often another version disagrees."""
        agreed = shadowed.texts - shadowed.disagreed
        counts = {"agreed": agreed, "disagreed": shadowed.disagreed, "dropped": shadowed.dropped}
        for outcome, count in counts.items():
            self.shadow.labels(outcome).set(count)
        self.disagreement.clear()
        if shadowed.value is not None:
            for bound in ("value", "low", "high"):
                self.disagreement.labels(bound).set(getattr(shadowed, bound))

    def show(self, windows: Windows) -> None:
        """Show how the traffic stands."""
        self.texts.set(windows.total)
        for window in windows.ended[-1:]:
            for name, psi in window.psi.items():
                self.psi.labels(name).set(psi)
                self.limit.labels(name).set(window.limits[name])
                self.drifted.labels(name).set(name in window.drifted)
        counts = windows.counts.get("labels", [])
        total = sum(counts)
        if total:
            for label, count in zip(windows.measures["labels"].bins, counts, strict=True):
                self.shares.labels(label).set(count / total)
