"""``generate``: texts from a checkpoint or a registered model."""

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from secateur.cli.checkpoints import resolve

if TYPE_CHECKING:
    from secateur.inference.writing import Written


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("prompts", nargs=-1, metavar="[PROMPT...]")
@click.option("--control", metavar="LABEL", help="What the texts should be, where the model was trained with labels.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Tokens per text.")
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.8, show_default=True, help="0 = the most probable token."
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.95,
    show_default=True,
    help="Draw from the most probable tokens that hold so much of the mass.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same texts.")
@click.option("--num", type=click.IntRange(min=1), default=1, show_default=True, help="Texts per prompt.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the texts.")
def generate(model: str, prompts: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Continue prompts.

    They are arguments, or lines of standard input; without any, a text starts from nothing. MODEL is a checkpoint
    folder or models:/name@alias. A single text appears on a terminal as it is written. A text never goes on beyond the
    model's context.

    Example: secateur generate models/r3 --control positive "这家酒店"
    """
    from secateur.inference.decoding import Sampling
    from secateur.inference.writing import Writer

    wrong = [name for name in ("temperature", "top_p") if not math.isfinite(options[name])]
    if wrong:
        raise click.UsageError(f"--{wrong[0].replace('_', '-')} must be a finite number, found {options[wrong[0]]}")
    given = [_readable(prompt) for prompt in prompts or _piped() for _ in range(options["num"])]
    writer = Writer.load(resolve(model))
    sampling = Sampling(options["max_tokens"], options["temperature"], options["top_p"], options["seed"])
    if len(given) == 1 and not as_json and sys.stdout.isatty():
        click.echo(given[0], nl=False)
        writer.write(given, sampling=sampling, label=options["control"], on_text=_show)
        click.echo()
        return
    written = writer.write(given, sampling=sampling, label=options["control"])
    if as_json:
        click.echo(json.dumps([_entry(text) for text in written], indent=2, ensure_ascii=False))
        return
    for text in written:
        click.echo(text.text)


def _piped() -> list[str]:
    """Return the lines of standard input; an empty prompt when there are none, or a terminal instead of a pipe."""
    try:
        lines = [] if sys.stdin.isatty() else [line.rstrip("\n") for line in sys.stdin if line.strip()]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8: {error}") from error
    return lines or [""]


def _readable(prompt: str) -> str:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError(f"the prompt {prompt!a} is not UTF-8") from error
    return prompt


def _show(piece: str) -> None:
    click.echo(piece, nl=False)
    sys.stdout.flush()


def _entry(text: "Written") -> dict[str, Any]:
    return {
        "prompt": text.prompt,
        "control": text.label,
        "text": text.text,
        "tokens": len(text.tokens),
        "finished": text.finished,
    }
