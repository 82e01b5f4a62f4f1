"""How generators are shown: perplexity, what is written as asked, and the texts side by side."""

from collections.abc import Iterator, Sequence

from secateur.report import columns, formats, samples
from secateur.report.presentation import Column, Compared, Evaluated, Json, Presentation, Score, Section, Simple, Words
from secateur.report.scales import GROWTH

_WORDS = Words(
    rows="texts",
    call="token",
    time="token",
    figure="Time per token",
    ms="ms per token",
    body="decoder",
    heads="Attention groups",
    heads_lead="Attention groups (key and value heads with their query heads)",
    curve="perplexity",
    loss="nats per token",
    lead=(
        "Perplexity on {rows} test texts that no earlier stage has read: lower is better; small print holds {interval} "
        "intervals over texts."
    ),
    timed="Times are medians of one cached step, with the speed-up over dense below.",
    remark=(
        "Perplexity per character counts the end of a text as one, so models with other tokenizers compare. MACs are "
        "multiply-accumulates, counted from the shapes. “Decoder” leaves the embeddings out; sparsity is the fraction "
        "of it that is gone. Percentages are of dense."
    ),
)


def _columns(rows: Sequence[Json]) -> list[Column]:
    batches = sorted(int(name.rpartition("_")[2]) for name in rows[0] if name.startswith("tokens_per_second_"))
    return [
        *columns.score_columns("perplexity", "perplexity", GROWTH),
        Column("per character", columns.of("char_perplexity", "{:.2f}")),
        Column("control", columns.of("control_accuracy", "{:.4f}")),
        columns.size_column(),
        Column("ms per token", columns.of("torch_ms", "{:.2f}")),
        Column("speed-up", columns.of("torch_speedup", "{:.2f}x")),
        *(
            Column(f"tokens/s, {batch} at once", columns.of(f"tokens_per_second_{batch}", "{:.0f}"))
            for batch in batches
        ),
    ]


def _sections(shown: Evaluated) -> Iterator[Section]:
    details, results, best = shown.details, shown.results, shown.best
    controls = [str(label) for label in details.get("controls", ())]
    rows = samples.writing_rows(results, controls=controls, real=details.get("real_texts", {}))
    writing = {
        "writing": rows,
        "controls": controls,
        "judge": details.get("judge"),
        "judged": any(row.control for row in rows),
        "generation": details.get("generation", {}),
    }
    yield Section("writing", "Texts", "{% include 'writing.html.j2' %}", writing)
    written = {
        "controls": controls,
        "sample_groups": samples.sample_groups(results, best=best),
        "sample_titles": samples.sample_titles(results, best=best),
    }
    style = "{% include 'samples.css' %}"
    yield Section("samples", "Samples", "{% include 'samples.html.j2' %}", written, style)


def _compared(found: Json, names: Sequence[str]) -> Compared:
    growth = found["growth"]
    said = (
        f"perplexity per character {growth['value']:+.2%} ({growth['low']:+.2%} to {growth['high']:+.2%}); "
        f"{found['lost']} of {found['test_rows']} texts are less probable in {names[1]}, {found['won']} more "
        f"(sign test, p = {found['p']:.3g})"
    )
    rows = tuple((row["label"] or "", f"{row['a']:.2f}", f"{row['b']:.2f}", row["text"]) for row in found["examples"])
    return Compared(said, ("label", *(f">{name}" for name in names), "text"), rows)


def _simple_said(found: Json) -> str:
    return f"{found['name']}: {found['char_perplexity']:.2f} per character on the same texts"


def _simple_remark(found: Json) -> tuple[str, str]:
    unknown = found.get("unknown_characters")
    said = f"; {formats.percent(unknown, 1)} of the test characters are unknown to it" if unknown else ""
    return "5-gram", f"is what needs no model: {found['name']}, counted on the same training texts{said}."


PRESENTATION = Presentation(
    scale=GROWTH,
    scores=(
        Score("perplexity", "Perplexity", formats.three_digits, note="per token"),
        Score("char_perplexity", "Perplexity", formats.three_digits, note="per character"),
        Score(
            "control_accuracy",
            "As asked",
            lambda share: formats.percent(share, 1),
            note="by the judge",
            write_end=formats.percent,
            figure=("Written as asked", "by the judge"),
        ),
    ),
    columns=_columns,
    sections=lambda shown: tuple(_sections(shown)),
    compared=_compared,
    words=_WORDS,
    symbol="ppl",
    simple=Simple(_simple_said, _simple_remark, row="5-gram"),
)
