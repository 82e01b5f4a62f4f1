"""The page as people see it: no serious finding of axe-core, no sideways scrolling on a phone, no empty plot."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from secateur.report.page import render
from tests.browser import CHROMIUM, evaluate
from tests.unit.report.run_fixture import complete_run

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")

# Contrast is judged against plain colours: the shadows of scrolling tables are images to axe, and it reads no color().
_PREPARE = """
document.querySelectorAll("details").forEach(element => element.open = true);
const plain = document.createElement("style");
plain.textContent = ".scroll, td { background-image: none !important } * { transition: none !important }";
document.head.append(plain);
const flatten = () => document.querySelectorAll("td, th").forEach(element => {
  element.style.backgroundColor = "";
  const found = getComputedStyle(element).backgroundColor.match(/^color\\(srgb ([\\d.]+) ([\\d.]+) ([\\d.]+)/);
  if (found) element.style.backgroundColor = `rgb(${found.slice(1).map(part => Math.round(255 * part)).join(",")})`;
});
"""
_AXE = (
    _PREPARE
    + """
const findings = {};
for (const theme of ["light", "dark"]) {
  document.getElementById("theme-" + theme).checked = true;
  flatten();
  const result = await axe.run(document);
  findings[theme] = {
    surface: getComputedStyle(document.body).backgroundColor,
    contrasts: (result.passes.find(rule => rule.id === "color-contrast") || {nodes: []}).nodes.length,
    serious: result.violations.filter(rule => ["serious", "critical"].includes(rule.impact))
      .map(rule => [rule.id, rule.nodes.length, rule.nodes[0].html, rule.nodes[0].failureSummary]),
  };
}
return findings;
"""
)
_LAYOUT = """
document.querySelectorAll("details").forEach(element => element.open = true);
const wide = [...document.querySelectorAll("body *")].filter(
  element => !element.closest(".scroll, nav, .skip") && element.getBoundingClientRect().right > innerWidth + 1);
return {
  width: innerWidth,
  scroll: document.documentElement.scrollWidth,
  wide: wide.map(element => element.outerHTML.slice(0, 120)),
  plots: [...document.querySelectorAll("svg")].map(plot => [
    plot.getAttribute("aria-label"), plot.getBoundingClientRect().width, plot.querySelectorAll("path, use").length]),
};
"""


@pytest.fixture(scope="module")
def html() -> str:
    return render(complete_run())


@pytest.fixture(scope="module")
def with_axe(html) -> str:
    found = find_spec("axe_core_python")
    assert found is not None, "axe-core-python is in the dev extra"
    source = (Path(str(found.origin)).parent / "axe.min.js").read_text(encoding="utf-8")
    return html.replace("</head>", "<script>" + source.replace("</script", "<\\/script") + "</script></head>")


def test_axe_finds_nothing_serious_in_light_and_in_dark(with_axe, tmp_path):
    found = evaluate(with_axe, _AXE, folder=tmp_path, width=1280)
    assert found["light"]["surface"] != found["dark"]["surface"]
    for theme in ("light", "dark"):
        assert found[theme]["serious"] == []
        assert found[theme]["contrasts"] > 200, "the contrast of the texts was not judged"


def test_axe_would_find_pale_text_and_a_plot_without_words(with_axe, tmp_path):
    spoilt = with_axe.replace("--muted: light-dark(#5a6561", "--muted: light-dark(#c5c9c7").replace(
        'role="img" aria-label=', 'role="img" data-label=', 1
    )
    found = evaluate(spoilt, _AXE, folder=tmp_path, width=1280)
    assert {rule for rule, *_ in found["light"]["serious"]} == {"color-contrast", "svg-img-alt"}


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_no_plot_is_empty(html, tmp_path, width):
    found = evaluate(html, _LAYOUT, folder=tmp_path, width=width)
    assert found["width"] == width
    assert found["wide"] == []
    assert found["scroll"] == width
    assert len(found["plots"]) == 6
    for label, drawn, marks in found["plots"]:
        assert label
        assert drawn > 250
        assert marks > 15
