import json
from dataclasses import FrozenInstanceError

import pytest

from secateur.errors import CheckFailed
from secateur.files import to_json
from secateur.models.card import Card
from secateur.registry.registered_version import ListedModel, RegisteredVersion
from secateur.registry.tags import ARTIFACTS, FILES, INPUTS, KEY, SIGNED, STAGE, Aliases, VersionTags, sha256_of

CARD = Card(stage="prune@r1", key="ab", state="recovered", files={"a": "1"}, inputs={"tokens": "x"}, weights_sha256="2")


def test_tags_of_a_card_repeat_it_as_text():
    tags = VersionTags.of_card(CARD)
    assert (tags[STAGE], tags[KEY], tags[INPUTS]) == ("prune@r1", "ab", to_json({"tokens": "x"}))
    assert tags.agree_with(CARD)
    assert not tags.agree_with(CARD.changed(stage="prune@r2"))
    assert not tags.agree_with(CARD.changed(inputs={"tokens": "y"}))
    assert VersionTags({STAGE: "prune@r1"}).agree_with(CARD), "of what is not tagged nothing is asked"


def test_a_version_of_which_little_is_said():
    tags = VersionTags({"note": "of somebody else"})
    assert (tags.stage, tags.commit, tags.data_md5, tags.runtime, tags.is_reproducible) == (
        "",
        "",
        None,
        "torch",
        False,
    )
    assert tags.ours == {}
    assert tags.digests(ARTIFACTS, label="tiny version 1") == {}


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 2500, '{"a": 1}', '{"a": null}', '"a"'])
def test_digests_that_are_none_are_refused_by_the_name_of_the_tag(text):
    with pytest.raises(CheckFailed, match=r"^tiny version 1: the tag secateur\.files holds no digests"):
        VersionTags({FILES: text}).digests(FILES, label="tiny version 1")


def test_nothing_can_be_set():
    tags = VersionTags({STAGE: "baseline"})
    assert dict(tags.with_({KEY: "1"})) == {STAGE: "baseline", KEY: "1"}
    assert dict(tags) == {STAGE: "baseline"}
    with pytest.raises(FrozenInstanceError):
        tags.texts = {}  # type: ignore[misc]


def test_what_a_signature_covers_is_what_it_covered_in_0_3():
    # Another list would make every signature of a registered version one of something else.
    assert set(SIGNED) == {
        "secateur.artifacts", "secateur.wrapper", "secateur.files", "secateur.weights_sha256", "secateur.runtime",
        "secateur.key", "secateur.stage", "secateur.commit", "secateur.data_md5", "secateur.dvc_sha256",
        "secateur.params_sha256", "secateur.constraints_sha256",
    }  # fmt: skip
    assert sha256_of("params.yaml") == "secateur.params_sha256"


def test_what_is_listed_is_json():
    tags = VersionTags({STAGE: "baseline"})
    aliases = Aliases({"previous": "1", "champion": "2", "challenger": "2"})
    assert aliases.of("2") == ("challenger", "champion")
    version = RegisteredVersion("tiny", "2", aliases.of("2"), 7, "run", {"macro_f1": 0.5}, tags)
    assert version.reference == "models:/tiny/2"
    listed = ListedModel("tiny", aliases, (version,)).as_json()
    assert json.loads(json.dumps(listed))["versions"][0] == {
        "name": "tiny", "version": "2", "aliases": ["challenger", "champion"], "created": 7, "run": "run",
        "metrics": {"macro_f1": 0.5}, "tags": {STAGE: "baseline"},
    }  # fmt: skip
