"""Numbers as a reader wants them: few digits, units named once, columns that align."""

from collections.abc import Iterable
from dataclasses import dataclass

_NO_BREAK = "\u00a0"
_THIN = "\u202f"
MINUS = "\u2212"


@dataclass(frozen=True)
class Unit:
    """One unit and one number of decimals for a whole column, so that its numbers align.

    Attributes:
        symbol: what stands in the column's head (``M``, ``kB``, ...), perhaps empty.
        divisor: value of one unit.
        decimals: digits after the point; three significant ones for the largest value.
    """

    symbol: str
    divisor: float
    decimals: int

    def format(self, value: float) -> str:
        """Write a value in this unit, without the symbol."""
        return f"{value / self.divisor:,.{self.decimals}f}".replace(",", _THIN)

    def with_symbol(self, value: float) -> str:
        """Write a value in this unit, with the symbol."""
        return f"{self.format(value)}{_NO_BREAK}{self.symbol}".rstrip(_NO_BREAK)


def unit_for(values: Iterable[float], suffix: str = "") -> Unit:
    """Choose the unit in which the largest of these values has one to three digits before the point."""
    largest = max(values, default=0.0)
    symbol, divisor = "", 1.0
    for prefix, candidate in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if largest >= candidate:
            symbol, divisor = prefix, candidate
    whole = divisor == 1.0 and not suffix
    shown = largest / divisor
    decimals = 0 if whole or shown >= 100 else 1 if shown >= 10 else 2
    return Unit(symbol=symbol + suffix, divisor=divisor, decimals=decimals)


def unit_for_ms(values: Iterable[float]) -> Unit:
    """Milliseconds with three significant digits for the largest value."""
    largest = max(values, default=0.0)
    return Unit(symbol="ms", divisor=1.0, decimals=0 if largest >= 100 else 1 if largest >= 10 else 2)


def count(value: float) -> str:
    """Write a whole number with thin spaces between groups of three digits."""
    return f"{value:,.0f}".replace(",", _THIN)


def score(value: float) -> str:
    """Write a score in [0, 1] with three decimals."""
    return f"{value:.3f}"


def three_digits(value: float) -> str:
    """Write a number without an upper end with three digits, or all of those before the point."""
    return count(value) if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"


def percent(fraction: float, decimals: int = 0) -> str:
    """Write a fraction as per cent; what is there but rounds to nothing is written as ``< 1 %``."""
    smallest = 10.0**-decimals
    shown = f"{100 * fraction:.{decimals}f}"
    if fraction > 0 and float(shown) == 0:
        shown = f"<{_NO_BREAK}{smallest:g}"
    return f"{shown}{_NO_BREAK}%"


def points(difference: float) -> str:
    """Write a difference of two scores in points (hundredths), always with its sign."""
    shown = f"{abs(100 * difference):.1f}"
    if float(shown) == 0:
        return f"±{shown}"
    return f"{MINUS if difference < 0 else '+'}{shown}"


def signed_percent(fraction: float) -> str:
    """Write a relative change as per cent with one decimal, always with its sign."""
    return f"{points(fraction)}{_NO_BREAK}%"


def signed(value: int) -> str:
    """Write a whole number, always with its sign."""
    return f"{MINUS if value < 0 else '+' if value else '±'}{count(abs(value))}"


def times(ratio: float) -> str:
    """Write a ratio as ``2.3×``."""
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"


def digest(value: object) -> str:
    """Shorten a digest to the twelve characters that tell it apart."""
    return str(value)[:12]


def runtime(name: str) -> str:
    """Write the name of a runtime as its makers do."""
    return {"torch": "PyTorch", "onnx": "ONNX", "onnx-int8": "ONNX int8"}.get(name, name)


def sentence(title: str) -> str:
    """Write a title as it begins a sentence; abbreviations stay what they are."""
    return title[0].upper() + title[1:]


def of_dense(kind: str) -> str:
    """Return what a kind of budget is a fraction of: ``the dense time``."""
    dense = {"latency": "the dense time", "macs": "the dense multiply-accumulates", "params": "the dense parameters"}
    return dense.get(kind, "dense")
