"""``models verify``, ``sign``, ``lineage`` and ``compare``: what a registered version is."""

import json
from typing import TYPE_CHECKING

import click

from secateur.errors import CheckFailed, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secateur.registry.mlflow_records import Records
    from secateur.registry.model_source import Resolved
    from secateur.registry.tags import VersionTags
    from secateur.verification.key_text import Key
    from secateur.workflow.project import Project

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_REFERENCE = click.argument("reference", metavar="models:/NAME@ALIAS|models:/NAME/VERSION")


@click.command()
@_REFERENCE
@_JSON
def verify(reference: str, as_json: bool) -> None:
    """Compare every file and tag of a version with its digest, and check its signature.

    A signature is asked for when SECATEUR_VERIFY_KEY or SECATEUR_SIGNING_KEY is set (hmac:SECRET, ed25519:BASE64 or
    ecdsa:BASE64). Exit code 1 names the first file or tag that is missing, changed or added.

    Example: secateur models verify models:/tweets-sentiment@champion
    """
    from secateur.registry.as_registered import all_problems
    from secateur.registry.history_check import history_problems
    from secateur.registry.manifest import describe
    from secateur.registry.model_source import check_files, problem_of_script, resolve
    from secateur.registry.signing import problem_of
    from secateur.verification.keys import verify_key

    project, records, version = _opened(reference)
    key = verify_key()
    named = f"models:/{records.name}/{version}"
    entry = records.registry.version(named)
    signature = None if key is None else problem_of(records.name, version, entry.tags, key)
    found_wrong = all_problems(records, entry, key=key)
    if deciding := [problem.said for problem in found_wrong if problem.decides]:
        raise CheckFailed(f"{named} {signature}" if signature else f"{named}: {_first_of(deciding)}")
    resolved = resolve(project, named, verify=False, registry=records.registry)
    checks = check_files(resolved)
    problems = [check.problem for check in checks if check.problem is not None]
    script = problem_of_script(resolved)
    foreign, of_foreign = _model_signature(resolved, key)
    problems += [one for one in (script, of_foreign) if one is not None]
    wrong = [problem.said for problem in found_wrong]
    wrong += [problem.said for problem in history_problems(records, key=key) if problem.version == version]
    said = describe(resolved.tags) + _signed_entries(resolved.tags, key)
    if as_json:
        files = [
            {"file": str(c.file), "expected": c.expected, "found": c.found, "intact": not c.problem} for c in checks
        ]
        signed = _signature(key is not None, signature, resolved.tags)
        found = {"model": records.name, "version": version, "intact": not problems, "signature": signed}
        found |= {"model_signature": foreign, "manifest": said, "manifest_problems": wrong, "files": files}
        click.echo(json.dumps(found, indent=2))
    if problems:
        raise CheckFailed(f"{named}: {_first_of(problems)}")
    if signature is not None:
        raise CheckFailed(f"{named} {signature}")
    if wrong:
        raise CheckFailed(f"{named}: {_first_of(wrong)}")
    if not as_json:
        signed = _signature(key is not None, None, resolved.tags)
        click.echo(
            f"{named}: {len(checks)} files have their digests; {said}; {signed}" + ("; " * bool(foreign)) + foreign
        )


@click.command()
@_REFERENCE
def sign(reference: str) -> None:
    """Sign a version with the key in SECATEUR_SIGNING_KEY, after every file was verified.

    The key is hmac:SECRET, or ed25519:BASE64 or ecdsa:BASE64 of a private key. A promotion signs what has passed when
    it is set. With ecdsa the files are signed in the format of OpenSSF Model Signing as well (model.sig).

    Example: secateur models sign models:/tweets-sentiment@champion
    """
    from secateur.registry.as_registered import all_problems
    from secateur.registry.model_source import listing_of, problem_of_script, resolve
    from secateur.registry.signing import sign as sign_
    from secateur.registry.tags import SIGNATURE
    from secateur.verification.keys import SIGNING_VARIABLE, signing_key
    from secateur.verification.model_signature import can_sign
    from secateur.verification.version_files import SIGNATURE_FILE

    key = signing_key()
    if key is None:
        raise ConfigError(f"{SIGNING_VARIABLE} is not set; it holds hmac:SECRET, ed25519:BASE64 or ecdsa:BASE64")
    project, records, version = _opened(reference)
    named = f"models:/{records.name}/{version}"
    resolved = resolve(project, named, registry=records.registry, signature="ignored")
    if (problem := problem_of_script(resolved)) is not None:
        raise CheckFailed(f"{named} is not signed: {problem}")
    wrong = [one.said for one in all_problems(records, records.registry.version(named)) if one.tag != SIGNATURE]
    if wrong:
        raise CheckFailed(f"{named} is not signed: {_first_of(wrong)}")
    sign_(records, version, key, tags=resolved.tags, files=listing_of(resolved)[0])
    written = f"; {SIGNATURE_FILE}, for other tools, lies beside its files" if can_sign(key) else ""
    click.echo(f"{named} is signed with {key.algorithm} {key.id}{written}")


@click.command()
@_REFERENCE
@_JSON
def lineage(reference: str, as_json: bool) -> None:
    """Show what a version was made of, from the data to its promotions, as a tree.

    Example: secateur models lineage models:/tweets-sentiment@champion
    """
    from secateur.cli import promotion_display
    from secateur.registry.as_registered import tell_all
    from secateur.registry.history_check import tell_history
    from secateur.registry.lineage import lineage as lineage_

    _, records, version = _opened(reference)
    tell_all(records, records.registry.version(f"models:/{records.name}/{version}"))
    tell_history(records)
    root = lineage_(records, version)
    if as_json:
        click.echo(json.dumps(root.as_json(), indent=2, ensure_ascii=False))
    else:
        promotion_display.tree(root)


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--examples", type=click.IntRange(min=0), default=10, show_default=True, help="Changed rows to list.")
@_JSON
def compare(one: str, other: str, examples: int, as_json: bool) -> None:
    """Compare two versions: metrics side by side, and what they say about the test rows.

    Both predict the test rows of the workspace in their deployed form; generators tell how probable each text is.

    Example: secateur models compare models:/tweets-sentiment@champion models:/tweets-sentiment@challenger
    """
    from secateur.cli import version_display
    from secateur.registry.comparison import compare as compare_
    from secateur.workflow.params import read_config

    entries = {}
    for side, reference in (("a", one), ("b", other)):
        project, records, version = _opened(reference)
        entries[side] = records.registry.version(f"models:/{records.name}/{version}")
    threads = read_config(project).promote.latency.num_threads
    found = compare_(project, entries, registry=records.registry, num_threads=threads, num_examples=examples)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        version_display.comparison(found, runtime=entries["b"].tags.runtime)


def _opened(reference: str) -> "tuple[Project, Records, str]":
    """Return the project, the model's records and the number of the version."""
    from secateur.registry.promotion import open_records
    from secateur.workflow.project import find_project

    project = find_project()
    records = open_records(project, reference)
    return project, records, records.find(reference)


def _model_signature(resolved: "Resolved", key: "Key | None") -> tuple[str, str | None]:
    """Return what is said of ``model.sig``, nothing without one, and what is wrong with it."""
    from secateur.registry.model_source import listing_of
    from secateur.verification.model_signature import can_sign, problem_of
    from secateur.verification.version_files import SIGNATURE_FILE

    file = None if resolved.root is None else resolved.root / SIGNATURE_FILE
    if file is None or not file.is_file() or file.is_symlink():
        return "", None
    if key is None or not can_sign(key):
        return f"{SIGNATURE_FILE} is there, but no ecdsa key is set to check it", None
    problem = problem_of(file.read_text(encoding="utf-8", errors="replace"), listing_of(resolved)[0], key)
    return f"{SIGNATURE_FILE} fits" if problem is None else problem, problem


def _first_of(problems: "Sequence[str]") -> str:
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _signed_entries(tags: "VersionTags", key: "Key | None") -> str:
    from secateur.registry.as_registered import signed_entries
    from secateur.registry.manifest import manifest_of

    manifest = manifest_of(tags)
    if key is None or manifest is None or not manifest.entries:
        return ""
    return f", {signed_entries(manifest, key)} of them signed with this key"


def _signature(asked: bool, problem: str | None, tags: "VersionTags") -> str:
    from secateur.registry.tags import SIGNATURE

    if not asked:
        return "signed, but no key is set to check it" if SIGNATURE in tags else "not signed"
    return problem or "the signature fits"
