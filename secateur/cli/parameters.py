"""``params``."""

import json
from dataclasses import asdict
from typing import Any

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
    from secateur.config.suggestion import did_you_mean
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project

    found = [
        entry
        for entry in effective(read_config(find_project()))
        if section is None or f"{entry.name}.".startswith(f"{section}.")
    ]
    if not found:
        raise ConfigError(f"{section} is no section and no parameter; {did_you_mean(str(section))}`secateur params`")
    if as_json:
        click.echo(json.dumps({"params": [asdict(entry) for entry in found]}, indent=2))
        return
    made = display.table("", "parameter", "value", "default", "from")
    made.columns[0].no_wrap = made.columns[3].no_wrap = True
    for entry in found:
        default = "" if entry.value == entry.default else _shown(entry.default)
        made.add_row(entry.name, _shown(entry.value), default, entry.origin)
    display.show(made)


def _shown(value: Any) -> str:
    from secateur.cli import display

    return display.plain(value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False))
