"""How a score and its change are told: points of a score in [0, 1], per cent of one without an upper end."""

from typing import final

from secateur.report import formats
from secateur.report.scale import Scale


@final
class Points(Scale):
    """A score in [0, 1] that is better when it is higher; what changes are points, hundredths of one."""

    logarithmic = False

    def write(self, value: float) -> str:
        """See ``Scale``."""
        return formats.score(value)

    def write_for_terminal(self, value: float) -> str:
        """See ``Scale``."""
        return f"{value:.4f}"

    def write_end(self, value: float) -> str:
        """See ``Scale``."""
        return f"{value:.3f}"

    def unit_of_loss(self, title: str) -> str:
        """See ``Scale``."""
        return f"points of {title}"

    def against(self, value: float, dense: float) -> str:
        """See ``Scale``."""
        return f"{formats.points(value - dense)} points"

    def beside(self, value: float, dense: float) -> str:
        """See ``Scale``."""
        return self.against(value, dense)

    def in_words(self, title: str, value: float, dense: float, *, change: float | None) -> tuple[str, bool]:
        """See ``Scale``."""
        change = value - dense if change is None else change
        size = f"{abs(100 * change):.1f}"
        if float(size) == 0:
            return f"keeps its {title}", False
        return f"{'loses' if change < 0 else 'gains'} {size} {'point' if size == '1.0' else 'points'} of {title}", True

    def between(self, title: str, low: float, high: float) -> str:
        """See ``Scale``."""
        return f"against dense in PyTorch is {formats.points(low)} to {formats.points(high)} points"


@final
class Growth(Scale):
    """A number that is better when it is lower and has no upper end; what changes is per cent of itself."""

    logarithmic = True

    def write(self, value: float) -> str:
        """See ``Scale``."""
        return formats.three_digits(value)

    def write_for_terminal(self, value: float) -> str:
        """See ``Scale``."""
        return f"{value:.2f}"

    def write_end(self, value: float) -> str:
        """See ``Scale``."""
        return f"{value:.2f}"

    def unit_of_loss(self, title: str) -> str:
        """See ``Scale``."""
        return f"% of {title}"

    def against(self, value: float, dense: float) -> str:
        """See ``Scale``."""
        growth = value / dense - 1.0
        return f"{'+' if growth >= 0 else formats.MINUS}{formats.percent(abs(growth), 1)}"

    def beside(self, value: float, dense: float) -> str:
        """See ``Scale``."""
        return f"{self.write(dense)} dense"

    def in_words(self, title: str, value: float, dense: float, *, change: float | None) -> tuple[str, bool]:
        """See ``Scale``."""
        growth = value / dense - 1.0
        if abs(growth) < 0.0005:
            return f"keeps its {title}", True
        return f"has {formats.percent(abs(growth), 1)} {'more' if growth > 0 else 'less'} {title}", True

    def between(self, title: str, low: float, high: float) -> str:
        """See ``Scale``."""
        return f"in {title} is {formats.signed_percent(low)} to {formats.signed_percent(high)}"


POINTS = Points()
GROWTH = Growth()
