"""``models``: what is registered."""

import json

import click


@click.group()
def models() -> None:
    """Look into the model registry.

    Example: secateur models list
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_(as_json: bool) -> None:
    """List registered models and their versions.

    Example: secateur models list --json
    """
    from flows.cli import display
    from tasks.mlflow_store import ModelRegistry
    from tasks.project import find_project

    found = ModelRegistry(find_project()).models()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        display.models_table(found)


@models.command()
@click.argument("reference", metavar="NAME|models:/NAME@ALIAS|models:/NAME/VERSION")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show(reference: str, as_json: bool) -> None:
    """Show one version: metrics, lineage, digests.

    Example: secateur models show models:/tweets-sentiment@challenger
    """
    from flows.cli import display
    from tasks.mlflow_store import ModelRegistry
    from tasks.project import find_project

    entry = ModelRegistry(find_project()).version(reference)
    if as_json:
        click.echo(json.dumps(entry, indent=2))
    else:
        display.model_version(entry)
