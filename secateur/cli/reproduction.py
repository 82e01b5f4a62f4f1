"""``models reproduce``: rebuild a registered version and compare."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from secateur.errors import CheckFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from secateur.reproduction.rebuild import Reproduction


@click.command()
@click.argument("reference", metavar="models:/NAME@ALIAS|models:/NAME/VERSION")
@click.option("--threads", type=click.IntRange(min=1), help="Rebuild with another number of threads: other bits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def reproduce(reference: str, threads: int | None, as_json: bool) -> None:
    """Rebuild a version from its commit and its data version, and compare.

    Works in a git worktree of its own, without caches; data comes from DVC and is verified. bit-identical: every
    file is the same. metric-equivalent: the environment differs (it is said in what), the scores do not. Exit 1 when
    they do, or when the bits differ in the same environment.

    Example: secateur models reproduce models:/tweets-sentiment@champion
    """
    from secateur.workflow.full_form import function_of
    from secateur.workflow.project import find_project

    def told(address: str) -> None:
        if not as_json:
            click.echo(f"rebuilding {address}", err=True)

    project = find_project()
    rebuild: Callable[..., Reproduction] = function_of(project.root, "flows", "reproduce", "reproduce")
    done = rebuild(project, reference, num_threads=threads, told=told)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    else:
        _show(done)
    if done.verdict == "different":
        raise CheckFailed(f"models:/{done.name}/{done.version} came out different: {done.reason}")


def _show(done: "Reproduction") -> None:
    from secateur.cli import display

    made = display.table(f"models:/{done.name}/{done.version} at commit {done.commit[:12]}", "file", "bits")
    for name, same in done.files.items():
        made.add_row(name, "[green]the same[/]" if same else "[yellow]other[/]")
    display.show(made)
    if done.environment:
        click.echo("environment: " + "; ".join(done.environment))
    if done.comparison is not None:
        compared = done.comparison
        made = display.table(
            f"on {compared.rows} test rows; both agree on {compared.agreement:.2%}",
            "metric", ">registered", ">rebuilt", ">difference",
        )  # fmt: skip
        for name, (one, other) in compared.metrics.items():
            made.add_row(name, f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4f}")
        display.show(made)
    click.echo(f"{done.verdict}: {done.reason}")
