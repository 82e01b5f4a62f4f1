"""The page of a generator: perplexity down, samples side by side, and Chinese everywhere."""

import warnings

import pytest

from secateur.report.headline import headline
from secateur.report.page import render
from secateur.report.results import read_results
from secateur.report.svg import canvas, cjk_fallback
from tests.unit.report.run_fixture import report_data
from tests.unit.report.text_fixture import text_details, text_metrics, text_report_data

NO_BREAK = "\u00a0"


@pytest.fixture(scope="module")
def page():
    return render(text_report_data())


def test_the_sentence_speaks_of_time_per_token_and_growth_of_perplexity():
    found = text_metrics()
    found["rounds"]["r3"] |= {
        "perplexity_change": 0.0434,
        "perplexity_change_low": 0.0312,
        "perplexity_change_high": 0.051,
    }
    data = text_report_data(metrics=found)
    said = headline(read_results(data), data.details)
    assert said.sentence == (
        f"r3 in PyTorch is 1.7× as fast as dense in PyTorch and has 4.3{NO_BREAK}% more perplexity, "
        "more than chance explains."
    )
    assert f"interval of the change in perplexity is +3.1{NO_BREAK}% to +5.1{NO_BREAK}%." in said.rule
    figures = {figure.name: (figure.value, figure.note) for figure in said.figures}
    assert figures["Time per token, PyTorch"] == (f"1.80{NO_BREAK}ms", f"dense 3.10{NO_BREAK}ms, 1.7×")
    assert figures["Tokens per second, 8 texts at once"][1].endswith(", 1.7×")
    assert figures["Perplexity on test"] == ("39.9", f"dense 38.2, +4.3{NO_BREAK}%")
    assert figures["Written as asked"] == (f"91.0{NO_BREAK}%", f"dense 85.0{NO_BREAK}%, by the judge")


def test_less_perplexity_is_said_as_such():
    found = text_metrics()
    found["rounds"]["r3"]["perplexity"] = 36.3
    data = text_report_data(metrics=found)
    sentence = headline(read_results(data), data.details).sentence
    assert f"has 5.0{NO_BREAK}% less perplexity" in sentence


def test_the_ngram_model_stands_below_the_models(page):
    row = page[page.index('class="reference"') :]
    assert "52.3" in row[:300]
    assert "interpolated Kneser-Ney, counted on the same training texts" in page
    metrics = text_metrics()
    del metrics["reference"]
    assert 'class="reference"' not in render(text_report_data(metrics=metrics))


def test_samples_stand_side_by_side_escaped_and_in_chinese(page):
    samples = page[page.index('id="samples"') : page.index('id="clean"')]
    assert samples.count("<table") == 2
    assert samples.index("baseline很好&lt;b&gt;") < samples.index("r3很好&lt;b&gt;")
    assert "r1" not in samples and "r2" not in samples
    assert samples.count('<span class="prompt">这家酒店</span>') == 2 * 2 * 3
    assert samples.count('class="cut"') == 2 * 2, "one of three texts goes on"


def test_chance_and_the_judge_s_own_accuracy_are_named(page):
    assert f"chance would reach 50{NO_BREAK}%, and the classifier itself is right about 88.0{NO_BREAK}%" in page
    details = text_details() | {"judge": None}
    metrics = text_metrics()
    for entry in (metrics["baseline"], *metrics["rounds"].values()):
        for name in ("control_accuracy", "control_accuracy_low", "control_accuracy_high"):
            del entry[name]
    for model in details["models"].values():
        del model["control"]
    unjudged = render(text_report_data(details=details, metrics=metrics))
    assert "As asked" not in unjudged and "by the judge" not in unjudged


def test_without_an_accepted_round_the_dense_samples_stand_alone():
    metrics = text_metrics()
    for entry in metrics["rounds"].values():
        entry["accepted"] = False
    refused = render(text_report_data(metrics=metrics))
    assert "No round was accepted" in refused
    assert "r3很好" not in refused


def test_labels_are_no_condition():
    """A corpus without labels: one group without a heading, no column about what was asked."""
    details = text_details() | {"labels": [], "controls": [], "judge": None}
    for model in details["models"].values():
        model["samples"] = [{**model["samples"][0], "label": None, "prompt": ""}]
        del model["control"]
    plain = render(text_report_data(details=details))
    samples = plain[plain.index('id="samples"') : plain.index('id="clean"')]
    assert samples.count("<table") == 1 and 'class="label"' not in samples


def test_axes_name_perplexity_and_nothing_of_classes(page):
    assert "perplexity on test" in page and "perplexity on validation (logarithmic)" in page
    assert "loss, nats per token" in page
    assert "down is better" in page
    assert "acro-F1" not in page and 'id="classes"' not in page and "Encoder" not in page


def test_the_page_of_a_classifier_has_nothing_of_it():
    page = render(report_data())
    assert ".samples" not in page and "perplexity" not in page.lower()


def test_equal_data_equal_bytes(page):
    assert render(text_report_data()) == page


def test_chinese_in_a_plot_stays_text_that_the_browser_draws():
    with warnings.catch_warnings():
        if cjk_fallback():
            warnings.simplefilter("error")  # a glyph that the font lacks
        with canvas("中文", description="评论", x_label="参数", y_label="困惑度") as drawn:
            drawn.axes.plot([1, 2], [3, 4])
            drawn.axes.annotate("剪枝后", (1, 3))
    for text in ("参数", "困惑度", "剪枝后"):
        assert f">{text}</text>" in drawn.svg
    assert "font-family" not in drawn.svg and "DejaVu" not in drawn.svg
