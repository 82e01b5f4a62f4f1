"""``params``."""

import json
from dataclasses import asdict

import click

from secateur.errors import ConfigError


@click.command()
@click.argument("section", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def params(section: str | None, as_json: bool) -> None:
    """Show what every parameter is worth here, its default, and who chose it.

    SECTION is a name or the beginning of one: prune, prune.latency.

    Example: secateur params prune.recovery
    """
    from secateur.cli import display
    from secateur.config.effective import effective
    from secateur.config.schema import parse_config
    from secateur.config.suggestion import did_you_mean
    from secateur.workflow.params import read_values
    from secateur.workflow.project import find_project

    values = read_values(find_project())
    found = [
        entry
        for entry in effective(values, parse_config(values))
        if section is None or f"{entry.name}.".startswith(f"{section}.")
    ]
    if not found:
        raise ConfigError(f"{section} is no section and no parameter; {did_you_mean(str(section))}`secateur params`")
    if as_json:
        click.echo(json.dumps({"params": [asdict(entry) for entry in found]}, indent=2))
        return
    made = display.table("parameter", "value", "default", "from")
    for entry in found:
        default = "" if entry.value == entry.default else display.plain(json.dumps(entry.default))
        made.add_row(entry.name, display.plain(json.dumps(entry.value)), default, entry.origin)
    display.show(made)
