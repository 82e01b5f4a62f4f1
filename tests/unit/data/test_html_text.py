"""HTML in texts is told, and taken out where that is asked for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.html_text import remark_on_html, without_html
from secateur.data.text_rules import TextRules, clean_texts

RULES = TextRules(repair_encoding=True, normalization="NFKC", mask_handles=True, mask_links=True, max_chars=200)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("good.<br /><br />Bad&nbsp;too", "good. Bad too"),
        ('<p class="x">one</p><p>two</p>', "one two"),
        ("<b>un</b>believ<i>able</i>, said <A HREF='x'>he</A>", "unbelievable, said he"),
        ("a &lt;br&gt; is a break &amp; so on &#39;here&#x27;", "a <br> is a break & so on 'here'"),
        ("<script>alert('<b>')</script>text<!-- a note -->s", "text s"),
        ("I <3 it, a < b > c, dear <name>, AT&T; &unheard;", "I <3 it, a < b > c, dear <name>, AT&T; &unheard;"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_tags_go_and_entities_are_read(text: str, clean: str) -> None:
    assert clean_texts([text], replace(RULES, strip_html=True))[0] == [clean]


def test_it_is_told_with_its_share_and_what_takes_it_out() -> None:
    texts = ["fine", "a <name>, I <3 it, R&D; and Q&A", *["good<br />bad"] * 2, *["plain"] * 6]
    assert remark_on_html(texts) == [
        "2 of 10 texts (20.0%) hold HTML (<br>): -S clean.strip_html=true takes tags out, and reads entities"
    ]
    assert remark_on_html([*texts, *["plain"] * 400]) == [], "one of hundreds may speak of it"
    assert "(&nbsp;)" in remark_on_html(["a &nbsp; b"])[0]
    assert remark_on_html([]) == []


def test_a_step_that_is_off_is_not_named() -> None:
    assert "strip_html" not in RULES.as_values(), "cards of models without it stay as they are"
    assert TextRules.of(replace(RULES, strip_html=True).as_values()) == replace(RULES, strip_html=True)


@given(st.text(alphabet="<>/abrp &;#0n!-"))
def test_no_text_is_longer_without_it(text: str) -> None:
    assert len(without_html(text)) <= len(text)
