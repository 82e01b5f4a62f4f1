"""``models``: what is registered, and what happened to it."""

import json

import click


@click.group()
def models() -> None:
    """List, judge, promote, verify and explain registered models.

    Example: secateur models list
    """


@models.command("list")
@click.option("--wide", is_flag=True, help="Show where each comes from too, in as many columns as it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_(wide: bool, as_json: bool) -> None:
    """List registered models and their versions.

    Example: secateur models list --json
    """
    from secateur.cli import display
    from secateur.registry.as_registered import tell
    from secateur.registry.mlflow_store import ModelRegistry
    from secateur.workflow.project import find_project

    found = ModelRegistry(find_project()).models()
    for entry in (version for model in found for version in model.versions):
        tell(entry)
    if as_json:
        click.echo(json.dumps([model.as_json() for model in found], indent=2))
    else:
        display.models_table(found, wide=wide)


@models.command()
@click.argument("reference", metavar="NAME|models:/NAME@ALIAS|models:/NAME/VERSION")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show(reference: str, as_json: bool) -> None:
    """Show one version: metrics, lineage, digests, the gate's verdict, its promotions.

    Example: secateur models show models:/tweets-sentiment@challenger
    """
    from secateur.cli import promotion_display, version_display
    from secateur.registry.as_registered import tell_all
    from secateur.registry.history import events
    from secateur.registry.history_check import tell_history
    from secateur.registry.promotion import open_records
    from secateur.registry.verdict import kept
    from secateur.workflow.project import find_project

    records = open_records(find_project(), reference)
    entry = records.registry.version(reference)
    tell_all(records, entry)
    tell_history(records)
    if as_json:
        click.echo(json.dumps(entry.as_json(), indent=2))
        return
    version_display.model_version(entry)
    if (verdict := kept(entry.tags)) is not None:
        promotion_display.verdict(verdict)
    moves = [event for event in events(records) if entry.version in (event.from_, event.to)]
    if moves:
        promotion_display.history(moves)


@models.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def history(name: str | None, as_json: bool) -> None:
    """Show who became champion, when, by whom and why.

    NAME is register.model_name when it is left out.

    Example: secateur models history tweets-sentiment
    """
    from secateur.cli import promotion_display
    from secateur.registry.history import events
    from secateur.registry.history_check import tell_history
    from secateur.registry.promotion import open_records
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project

    project = find_project()
    records = open_records(project, name or read_config(project).register_.model_name)
    found = events(records)
    tell_history(records)
    if as_json:
        click.echo(json.dumps([event.as_json() for event in found], indent=2, ensure_ascii=False))
    else:
        promotion_display.history(found)
