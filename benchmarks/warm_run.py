"""How long does `secateur run` take when there is nothing to do, beside an earlier version?

    python -m benchmarks.warm_run 0.3.0=/old/.venv/bin:/old/project now=.venv/bin:/new/project

Each project is finished, and its own version runs it. The versions take turns, so that a busy machine is one to all.
"""

import os
import resource
import subprocess
import time
from pathlib import Path
from statistics import median

import click

from benchmarks.report import environment, show, write_results

_NOTES = (
    "medians (lowest to highest) of processes of their own; processor time is that of the process and its children",
    "ratio: of the medians, to the first version",
)


def once(binaries: Path, project: Path) -> tuple[float, float]:
    """Run a finished project; return wall clock and processor time in seconds."""
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [binaries / "secateur", "run"], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if "\n0 of " not in done.stdout:
        raise click.ClickException(f"{project} was not up to date; run it once before")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _case(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, tuple[Path, Path]]:
    cases = {}
    for case in given:
        name, _equals, places = case.partition("=")
        binaries, _colon, project = places.partition(":")
        cases[name] = (Path(binaries).absolute(), Path(project))
    return cases


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


@click.command()
@click.argument("cases", nargs=-1, required=True, callback=_case, metavar="NAME=BIN:PROJECT...")
@click.option("--runs", default=7, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(cases: dict[str, tuple[Path, Path]], runs: int, out: Path | None) -> None:
    """Time runs that have nothing to do."""
    for binaries, project in cases.values():
        once(binaries, project)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(runs):
        for name, (binaries, project) in cases.items():
            taken[name].append(once(binaries, project))
        click.echo(f"{number + 1}/{runs}", err=True)
    entries = {name: {"wall_s": [w for w, _ in found], "cpu_s": [c for _, c in found]} for name, found in taken.items()}
    first = next(iter(entries.values()))
    rows = [
        [
            name,
            *(
                cell
                for kind in ("cpu_s", "wall_s")
                for cell in (_spread(e[kind]), f"{median(e[kind]) / median(first[kind]):.2f}")
            ),
        ]
        for name, e in entries.items()
    ]
    columns = ("version", "processor s", "ratio", "wall s", "ratio")
    show("A run with nothing to do", columns=columns, rows=rows, notes=_NOTES, machine=environment())
    write_results("warm_run", {"machine": environment(), "entries": entries}, out=out)


if __name__ == "__main__":
    main()
