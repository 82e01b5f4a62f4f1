"""A matplotlib canvas that becomes an inline SVG: colours from the page's CSS, the page's font, stable bytes."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import matplotlib as mpl
import matplotlib.style
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Drawn in colours that nothing else uses, then replaced by the CSS variables that know light and dark.
INK, MUTED, GRID, SURFACE = "#010a01", "#020a02", "#030a03", "#040a04"
SERIES = ("#050a05", "#060a06", "#070a07")
MARKERS = ("o", "s", "D")
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    SURFACE: "var(--surface)",
    SERIES[0]: "var(--accent)",
    SERIES[1]: "var(--series-2)",
    SERIES[2]: "var(--series-3)",
}

_WIDTH, _HEIGHT = 5.7, 4.1  # inches at 72 dots: close to a phone's width, so that the text stays readable
FONT_SIZE = 11.5
_STYLE = {
    "svg.fonttype": "none",  # real text: the browser's fonts know every script
    "text.parse_math": False,
    "font.size": FONT_SIZE,
    "axes.linewidth": 0.8,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "axes.prop_cycle": cycler(color=SERIES),
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
}


_CJK_FONTS = (
    "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei", "SimHei",
    "Noto Sans CJK JP", "Noto Serif CJK SC", "Arial Unicode MS",
)  # fmt: skip


def cjk_fallback() -> dict[str, list[str]]:
    """Return the setting that measures Chinese text by an installed font; empty where there is none.

    Text stays text in the SVG, so the browser chooses the font it is drawn with; the glyphs only serve the layout, and
    a font of ours would be no help to anybody. Latin text is measured by matplotlib's own font in any case.
    """
    installed = set(font_manager.get_font_names())
    found = next((name for name in _CJK_FONTS if name in installed), None)
    return {} if found is None else {"font.family": ["DejaVu Sans", found]}


@dataclass
class Canvas:
    """One plot while it is drawn; ``svg`` is set when the ``canvas`` block ends."""

    axes: Axes
    svg: Markup = field(default_factory=Markup)


@contextmanager
def canvas(name: str, *, description: str, x_label: str, y_label: str) -> Iterator[Canvas]:
    """Yield empty axes; afterwards the canvas holds them as SVG.

    Args:
        name: unique on the page; every id in the SVG starts with it.
        description: what a screen reader says instead of the plot.
        x_label: quantity and unit under the axis.
        y_label: quantity and unit above the axis, left-aligned, where it reads without turning the head.
    """
    # The default style first: a matplotlibrc of the user's must not change the bytes.
    with mpl.style.context(["default", {**_STYLE, **cjk_fallback(), "svg.hashsalt": name}]):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=72)
        axes = figure.add_axes((0.1, 0.135, 0.87, 0.765))
        drawn = Canvas(axes=axes)
        yield drawn
        axes.set_xlabel(x_label, labelpad=7)
        axes.set_title(y_label, loc="left", fontsize=FONT_SIZE, color=MUTED, pad=10, x=-0.085)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn.svg = _inline(buffer.getvalue(), name=name, description=description)


def _inline(document: str, *, name: str, description: str) -> Markup:
    """Turn a standalone SVG document into an element of the page."""
    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # Their global style rule would apply to the whole page; ours stands in the stylesheet.
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;\"]*;?\s*", "", text)
    # Coordinates only: what follows ">" is text, and 0.785 on an axis is not 0.79.
    text = re.sub(r"(?<![>\d.\-])-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"\s*\n\s*", "\n", text)
    head = f'<svg viewBox="0 0 {72 * _WIDTH:g} {72 * _HEIGHT:g}" role="img" aria-label="{escape(description)}">'
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: head, text, count=1))  # noqa: S704  our own drawing
