"""What anybody may write into a registry is told, and ends nothing."""

import json

import pytest

from secateur.announcements.webhook import Letter, post
from secateur.config.part import parse_part
from secateur.errors import CheckFailed, ConfigError
from secateur.registry.approvals import Asked
from secateur.registry.manifest import manifest_of, problems, written_for
from secateur.registry.tags import ENTRY, MANIFEST, VersionTags


@pytest.mark.parametrize("event", [[], [1], "x", {}])
def test_an_entry_with_an_event_that_is_none_breaks_the_manifest_and_no_reader(event: object) -> None:
    kept = {"files": {}, "kept": {}, "metrics": "", "model": "m", "parameters": "", "run": "r", "tags": {}}
    entry = {"event": event, "number": 1, "previous": "", "tags": {}, "what": "x", "when": "", "who": ""}
    found = manifest_of(VersionTags({MANIFEST: json.dumps(kept), f"{ENTRY}000001": json.dumps(entry)}))
    assert found is not None and found.broken


def test_approvals_of_another_manifest_than_was_judged_are_refused() -> None:
    Asked().require_same(VersionTags({}))
    asked = Asked((), "k1", "the one")
    asked.require_same(VersionTags({MANIFEST: "the one"}))
    for tags in ({MANIFEST: "another"}, {"secateur.commit": "x"}):
        with pytest.raises(CheckFailed, match="another manifest than a moment ago"):
            asked.require_same(VersionTags(tags))


@pytest.mark.parametrize("address", ["https://host/ä", "https://host/a b", "https://host/a\n"])
def test_an_address_that_cannot_be_asked_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigError, match="ASCII without blanks"):
        parse_part("classification", {"promote": {"webhook": address}})


def test_what_stands_behind_a_host_is_never_shown() -> None:
    said = post(Letter("https://host.invalid:99999?token=secret", "{}", "1"), timeout_s=1, tries=1, backoff_s=0).problem
    assert said is not None and "secret" not in said


def test_half_a_character_in_a_tag_is_a_changed_tag() -> None:
    """JSON may hold one, a database and UTF-8 may not."""
    tags = {"secateur.runtime": "torch", "secateur.weights_sha256": "0" * 64}
    made = written_for(model="m", run="r", tags=tags, metrics={}, parameters={}, kept={})
    changed = VersionTags({**tags, MANIFEST: made, "secateur.runtime": "torch\ud800"})
    said = [found.said for found in problems(changed, model="m", run="r", metrics={})]
    assert said == ["the tag secateur.runtime was changed after it was written"]
    assert problems(VersionTags({**tags, MANIFEST: made}), model="m", run="r", metrics={}) == []
