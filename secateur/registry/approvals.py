"""Approvals: people who sign, each with a key of their own, that a version may become the champion.

An approval is of one manifest: of these files, scores, parameters and tags. Which keys count is said by params.yaml or
the environment, never by the registry.
"""

import base64
import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from secateur.config.promote import PromoteSection
from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed, ConfigError, ProjectError
from secateur.files import to_json, utf8
from secateur.gate.condition import Condition
from secateur.registry.as_registered import all_problems
from secateur.registry.history import Event, append
from secateur.registry.manifest import manifest_of
from secateur.registry.manifest_entries import extend
from secateur.registry.tags import APPROVAL, CHAMPION, MANIFEST, VersionTags
from secateur.registry.transition import require_idle
from secateur.registry.verdict import APPROVALS, kept
from secateur.registry.who import now, who_asks
from secateur.verification.key_text import Key
from secateur.verification.keys import SIGNING_VARIABLE, VERIFY_VARIABLE, public_key, signing_key, verify_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records
    from secateur.registry.registered_version import RegisteredVersion

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approval:
    """One signature.

    Attributes:
        model: name of the registered model.
        version: its number.
        manifest: digest of what is approved.
        key: name of the key.
        algorithm: of the key.
        who: approves.
        when: UTC, ISO 8601.
        why: one line; empty where nothing was said.
        value: signature of ``message``, base64.
    """

    model: str
    version: str
    manifest: str
    key: str
    algorithm: str
    who: str
    when: str
    why: str
    value: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        return utf8(to_json({"approves": {name: text for name, text in asdict(self).items() if name != "value"}}))

    def is_by(self, key: Key) -> bool:
        """Tell whether a key made it."""
        try:
            value = base64.b64decode(self.value, validate=True)
        except ValueError:
            return False
        return (self.algorithm, self.key) == (key.algorithm, key.id) and key.fits(self.message, value)


def trusted_keys(section: PromoteSection) -> tuple[Key, ...]:
    """Return the keys whose approvals count: those of ``promote.approvers``, or else the one that verifies.

    Raises:
        ConfigError: one is no public key, one is named twice, or fewer are known than ``promote.approvals`` asks for.
    """
    keys = tuple(public_key(text, where=f"promote.approvers[{at}]") for at, text in enumerate(section.approvers))
    if len({key.public for key in keys}) < len(keys):
        raise ConfigError("promote.approvers names a key twice; each must be another one")
    if not keys and section.approvals and (key := verify_key()) is not None:
        keys = (key,)
    if len(keys) < section.approvals:
        found = f"{VERIFY_VARIABLE} is {'one' if keys else 'not set'}"
        found = f"promote.approvers has {len(keys)}" if section.approvers else found
        raise ConfigError(
            f"promote.approvals={section.approvals} asks for as many keys, and {found}; name them in promote.approvers"
        )
    return keys


def approve(records: "Records", version: str, key: Key, *, section: PromoteSection, why: str) -> Approval:
    """Sign that a version may become the champion, and write it into the history; once more writes it anew.

    Args:
        records: of the model.
        version: its number.
        key: with its private part.
        section: ``promote`` of params.yaml; where it names keys, this must be one of them.
        why: one line, or nothing.

    Raises:
        CheckFailed: a tag, or what lies with the run, is not what was registered.
        ConfigError: the key is none of those that count.
        ProjectError: the version has no manifest, or a promotion is under way.
    """
    trusted = trusted_keys(section) if section.approvals or section.approvers else ()
    if trusted and all(key.public != one.public for one in trusted):
        where = "in promote.approvers" if section.approvers else f"that count, which is that of {VERIFY_VARIABLE}"
        raise ConfigError(f"{SIGNING_VARIABLE} ({key.algorithm} {key.id}) is none of the keys {where}")
    require_idle(records)  # a move has judged the version as it is
    entry = records.registry.version(f"models:/{records.name}/{version}")
    manifest = manifest_of(entry.tags)
    if manifest is None:
        raise ProjectError(
            f"{entry.reference} has no manifest to approve of: it was registered before 0.4; register the model again"
        )
    if wrong := all_problems(records, entry, key=key):
        raise CheckFailed(f"{entry.reference} is not approved: {wrong[0].said}")
    said = Approval(
        records.name, version, manifest.digest, key.id, key.algorithm, who_asks(), now(), " ".join(why.split())
    )
    signed = Approval(**{**asdict(said), "value": base64.b64encode(key.sign(said.message)).decode()})
    extend(records, version, "approved", {f"{APPROVAL}{key.id}": to_json(asdict(signed))})
    reason = f"{key.algorithm} {key.id}" + (f": {signed.why}" if signed.why else "")
    append(records, Event(0, "approved", records.alias(CHAMPION), version, signed.who, signed.when, reason, False))
    return signed


def approvals_of(entry: "RegisteredVersion", keys: tuple[Key, ...]) -> list[Approval]:
    """Return the approvals of a version that count: of its manifest, by different keys; others are told."""
    manifest = manifest_of(entry.tags)
    counted: dict[bytes, Approval] = {}
    for tag in sorted(tag for tag in entry.tags if tag.startswith(APPROVAL)):
        found = _read(entry.tags, tag)
        key = None if found is None else next((key for key in keys if found.is_by(key)), None)
        about = None if found is None else (found.model, found.version, found.manifest)
        if found is None or key is None:
            _log.warning("%s: the tag %s is no approval by a key that counts", entry.reference, tag)
        elif manifest is None or about != (entry.name, entry.version, manifest.digest):
            _log.warning("%s: the tag %s approves of something else", entry.reference, tag)
        else:
            counted[key.public] = found
    return list(counted.values())


def condition_of(entry: "RegisteredVersion", section: PromoteSection, keys: tuple[Key, ...]) -> Condition | None:
    """Return whether enough keys approve of a version; None where nobody has to."""
    if not section.approvals:
        return None
    found = approvals_of(entry, keys)
    asked = f"{section.approvals} approvals by different keys"
    by = ", ".join(f"{one.who} ({one.key})" for one in found)
    missing = section.approvals - len(found)
    values = {"approved": len(found), "asked": section.approvals}
    if missing <= 0:
        return Condition(APPROVALS, asked, str(len(found)), True, f"approved by {by}", values)
    reason = f"waits for {missing} of {section.approvals} approvals" + (f"; approved by {by}" if by else "")
    reason += f"; `secateur models approve {entry.reference}` gives one"
    return Condition(APPROVALS, asked, str(len(found)), False, reason, values)


@dataclass(frozen=True)
class Asked:
    """What a promotion asks of people: no condition where it asks for nothing.

    Attributes:
        conditions: one, or none.
        keys: names of those that have approved, with commas; None where nobody had to.
        manifest: that they were asked about; None where nobody had to.
    """

    conditions: tuple[Condition, ...] = ()
    keys: str | None = None
    manifest: str | None = None

    def require_same(self, tags: VersionTags) -> None:
        """Refuse a version that was judged by another manifest than people were asked about.

        One that could not be opened was judged by none, and goes nowhere.

        Raises:
            CheckFailed: somebody changed it in between.
        """
        if self.keys is not None and tags and tags.get(MANIFEST) != self.manifest:
            raise CheckFailed("the version has another manifest than a moment ago, when its approvals were counted")


def approvals_asked(config: RunConfig, records: "Records", version: str, *, forced: bool) -> Asked:
    """Count the approvals of a version, before anything is computed.

    Raises:
        ConfigError: the keys that count are not known; or some are missing, and who insists has no key, so that the
            history could not say whose it was.
    """
    section = config.promote
    if not section.approvals:
        return Asked()
    keys, entry = trusted_keys(section), records.registry.version(f"models:/{records.name}/{version}")
    condition = condition_of(entry, section, keys)
    assert condition is not None
    if forced and not condition.passed and signing_key() is None:
        raise ConfigError(
            f"promote.approvals={section.approvals} is not met; --force lifts it for somebody who signs: set "
            f"{SIGNING_VARIABLE}, the history keeps its name beside the reason"
        )
    return Asked((condition,), ", ".join(one.key for one in approvals_of(entry, keys)), entry.tags.get(MANIFEST))


def still_waits(entry: "RegisteredVersion", section: PromoteSection, *, champion: str | None) -> str | None:
    """Return what a version waits for that was judged against this champion and passed; None when it does not wait."""
    verdict = kept(entry.tags)
    if verdict is None or not verdict.waits or verdict.champion_before != champion:
        return None
    condition = condition_of(entry, section, trusted_keys(section))
    return None if condition is None or condition.passed else condition.reason


def _read(tags: VersionTags, tag: str) -> Approval | None:
    try:
        values: Any = json.loads(tags[tag])
        found = Approval(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if all(isinstance(text, str) for text in asdict(found).values()) else None
