"""Writes the generated parts of the documents: `python docs/generate.py`; `--check` only compares.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. After `make demo`,
`--record` first keeps the run's figures in docs/results/demo.json, from which the README's table comes.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from docs.python_reference import python_reference  # noqa: E402
from secateur.cli import cli  # noqa: E402
from secateur.config.catalogue import parameters  # noqa: E402
from secateur.config.criteria import CRITERIA  # noqa: E402
from secateur.config.effective import default_values  # noqa: E402
from secateur.config.promote import SignificanceSection  # noqa: E402
from secateur.config.regularizers import REGULARIZERS  # noqa: E402
from secateur.statistics.margins import provable, rows_for  # noqa: E402
from secateur.workflow.params import flatten  # noqa: E402

DEMO = ROOT / "docs" / "results" / "demo.json"
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "docs/parameters.md",
    "docs/reference/commands.md",
    "docs/reference/python.md",
    "docs/reference/criteria.md",
    "docs/reference/families.md",
    "docs/explanation/gate.md",
)
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """One row per command: its usage and the first sentence of its help."""
    rows = ["| command | does |", "|---|---|"]
    for name, command in cli.commands.items():
        nested: Mapping[str, Any] = getattr(command, "commands", {})
        label = " ".join([name, "\\|".join(nested)]).strip()
        rows.append(f"| `secateur {label}` | {_sentence(command.help or '')} |")
    return "\n".join(rows) + "\n"


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def reference() -> str:
    """Every command as `--help` shows it: usage, help, options."""
    return "\n".join(_described(path, command) for path, command in _walk(cli, ""))


def _walk(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        yield full, command
        if isinstance(command, click.Group):
            yield from _walk(command, full)


def _described(path: str, command: click.Command) -> str:
    # A command keeps the help option of its first context, so this one must be like those of the program.
    context = click.Context(command, info_name=path, **cli.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {path}\n", f"```text\nsecateur {path} {usage}\n```\n"]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        lines.append(f"```sh\n{text.removeprefix('Example: ')}\n```\n" if text.startswith("Example: ") else f"{text}\n")
    options = (option for option in command.params if isinstance(option, click.Option))
    if records := [record for option in options if (record := option.get_help_record(context))]:
        rows = [f"| `{_cell(name)}` | {_cell(words)} |" for name, words in records]
        lines.append("\n".join(["| option | |", "|---|---|", *rows]) + "\n")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def parameter_table() -> str:
    """One row per entry of params.yaml."""
    rows = ["| parameter | type and range | default | meaning |", "|---|---|---|---|"]
    defaults = flatten(default_values())
    del defaults["ingest.source"]
    for row in parameters():
        kind = row["type"].replace("|", "\\|")
        default = f"`{json.dumps(defaults[row['name']])}`" if row["name"] in defaults else ""
        rows.append(f"| `{row['name']}` | {kind} | {default} | {row['description']} |")
    return "\n".join(rows) + "\n"


def criteria() -> str:
    """One row per criterion: what it does, what it scores, needs and comes from."""
    rows = ["| `prune.criterion` | does | scores | needs | source |", "|---|---|---|---|---|"]
    for name in CRITERIA:
        found, package = CRITERIA[name], CRITERIA.find(name).package
        needs = ", ".join(found.needs) or "nothing"
        by = f" (of {package})" if package else ""
        rows.append(f"| `{name}`{by} | {found.summary} | {', '.join(found.scores)} | {needs} | {found.source} |")
    return "\n".join(rows) + "\n"


def regularizers() -> str:
    """One row per regulariser: what it does, and where it comes from."""
    rows = ["| `prune.regularizer` | does | acts on | source |", "|---|---|---|---|"]
    for name in REGULARIZERS:
        found, package = REGULARIZERS[name], REGULARIZERS.find(name).package
        on = "everything" if found.on_all is not None else "what will go"
        rows.append(f"| `{name}`{f' (of {package})' if package else ''} | {found.summary} | {on} | {found.source} |")
    return "\n".join(rows) + "\n"


def families() -> str:
    """One row per family: the model_type it reads, what its models do, and who brings it."""
    from transformers import CONFIG_MAPPING

    from secateur.config.families import OTHERS
    from secateur.families import FAMILIES, family_named
    from secateur.models.heads import labels_texts

    rows = ["| `model_type` | models | of |", "|---|---|---|"]
    for name in [*FAMILIES, *OTHERS]:
        labels, writes = labels_texts(CONFIG_MAPPING[name]), family_named(name).generates
        does = "label texts or continue them" if labels and writes else "continue texts" if writes else "label texts"
        does += "; heads of a layer go together" * family_named(name).heads_go_together
        rows.append(f"| `{name}` | {does} | {OTHERS.find(name).package if name in OTHERS.names else 'secateur'} |")
    return "\n".join(rows) + "\n"


def results() -> str:
    """The demo's table, with the machine and the versions it was measured on."""
    run = json.loads(DEMO.read_text(encoding="utf-8"))
    rows = [
        "| model | parameters | MACs | macro-F1 (95 % interval) | ONNX fp32 | speed-up "
        "| deployed (int8): macro-F1 | time | on disk | against dense PyTorch |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    dense_ms = run["models"][0]["torch_ms"]
    for row in run["models"]:
        if "params" not in row:
            continue  # never ran
        name = row["model"] if row.get("accepted", True) else f"{row['model']} (rolled back)"
        rows.append(
            f"| {name} | {row['params'] / 1e6:.2f} M | {row['macs'] / 1e6:.1f} M "
            f"| {row['macro_f1']:.4f} ({row['macro_f1_low']:.3f} to {row['macro_f1_high']:.3f}) "
            f"| {row['onnx_ms']:.2f} ms | {row['onnx_speedup']:.2f}x | {row['deployed_macro_f1']:.4f} "
            f"| {row['onnx-int8_ms']:.2f} ms | {row['deployed_bytes'] / 1e6:.1f} MB "
            f"| {dense_ms / row['onnx-int8_ms']:.1f}x |"
        )
    machine, settings = run["machine"], run["settings"]
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run["seconds"].items() if seconds >= 0.5)
    total = sum(run["seconds"].values()) / 60
    return (
        "\n".join(rows) + f"\n\nMedian of {settings['repeats']} interleaved calls, batch {settings['batch']}, "
        f"{settings['length']} tokens, "
        f"{settings['num_threads']} thread; {run['test_rows']} test rows; {machine['cpu']}, {machine['cores']} cores, "
        f"torch {machine['torch']}, ONNX Runtime {machine['onnxruntime']}; "
        f"dense PyTorch fp32 takes {dense_ms:.2f} ms.\nThe stages took {total:.0f} minutes: {stages}.\n"
    )


def rows() -> str:
    """How many rows it takes to show that a challenger does no harm."""
    shares, margins = (0.02, 0.05, 0.1, 0.15), (0.01, 0.02, 0.03, 0.05, 0.1)
    level = SignificanceSection().level
    lines = [
        f"| less is lost than | {' | '.join(f'{share:.0%} changed' for share in shares)} |",
        "|---|--:|--:|--:|--:|",
    ]
    for margin in margins:
        found = (rows_for(margin, level=level, changed=share) for share in shares)
        lines.append(f"| {margin:g} | {' | '.join(map(str, found))} |")
    seen = ", ".join(f"{provable(count, level=level):g} with {count}" for count in (60, 120, 500, 1000, 2500))
    return "\n".join(lines) + f"\n\nThe other way round, with 10 % changed, so little can be shown: {seen} rows.\n"


def tree() -> str:
    """The rooms, with the first line of each one's docstring."""
    lines = ["```text"]
    for package in ("flows", "tasks", "secateur"):
        lines.append(f"{package + '/':<24}{_purpose(ROOT / package)}")
        if package == "secateur":
            for folder in sorted(path for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()):
                lines.append(f"  {folder.name + '/':<22}{_purpose(folder)}")
    return "\n".join([*lines, "```"]) + "\n"


def _purpose(package: Path) -> str:
    text = (package / "__init__.py").read_text(encoding="utf-8")
    return text.split('"""', 2)[1].strip().splitlines()[0].rstrip(".") if '"""' in text else ""


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "criteria": criteria,
    "regularizers": regularizers,
    "families": families,
    "parameters": parameter_table,
    "python": python_reference,
    "reference": reference,
    "results": results,
    "rows": rows,
    "tree": tree,
}


def render(text: str) -> str:
    """Return a document with its generated parts made anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found['name']]()}{found[4]}", text)


def record() -> None:
    """Keep the figures of the last run."""
    from secateur.workflow.results import comparison, read_json

    latency = read_json(ROOT / "reports" / "latency.json")
    DEMO.parent.mkdir(exist_ok=True)
    kept = {
        "models": comparison(ROOT),
        "machine": latency["machine"],
        "settings": latency["settings"],
        "test_rows": read_json(ROOT / "reports" / "details.json")["test_rows"],
        "seconds": read_json(ROOT / ".secateur" / "seconds.json"),
    }
    DEMO.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> int:
    """Rewrite or compare; exit 1 when a document is not what would be generated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    if asked.record:
        record()
    outdated = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = render(before)
        if after != before:
            outdated.append(name)
            if not asked.check:
                path.write_text(after, encoding="utf-8")
    if outdated:
        sys.stdout.write(f"{'outdated' if asked.check else 'written'}: {', '.join(outdated)}\n")
    return 1 if outdated and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
