"""``baseline``: tokenise once, train the dense model, and keep what the rounds need of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.baseline import BaselineSection
from secateur.config.run import RunSection
from secateur.workflow.job import Job
from secateur.workflow.stage import Output, Stage, section

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(_config: "RunConfig", _root: Path) -> list[Stage]:
    """Learn from the cleaned rows, and from what ``ingest`` copied."""
    return [
        Stage(
            name="baseline",
            trains=True,
            inputs={
                "train": "data/clean/train.parquet",
                "validation": "data/clean/validation.parquet",
                "labels": "data/clean/labels.json",
                "text_rules": "data/clean/text_rules.json",
                "base": "models/base",
            },
            parameters=(section("run"), section("baseline")),
            outputs={
                "tokens": Output("data/tokens"),
                "model": Output("models/baseline"),
                "history": Output("reports/training/baseline.csv", "plot"),
            },
        )
    ]


def run(job: Job, *, run: RunSection, baseline: BaselineSection) -> None:
    """Train the dense model: fine-tune a pretrained one, or start from nothing.

    Inputs are ``train``, ``validation`` (parquet), ``labels``, ``text_rules`` (JSON) and ``base`` (a folder with a
    model, or with a config alone). Outputs are ``tokens`` (token files, and a classifier's logits), ``model`` (a
    checkpoint) and ``history`` (CSV).

    Raises:
        DataError: there are no rows.
        ModelError: the base cannot be used, or training diverged.
        ConfigError: the tokenizer has no room, texts are longer than the model can read, or the device is not there.
    """
    from secateur.data.tokenizer_training import control_token
    from secateur.data.tokens import in_card, read_tokens
    from secateur.determinism import fingerprint
    from secateur.inference.device import enter
    from secateur.kinds.registry import kind_named
    from secateur.models.card import Card
    from secateur.models.checkpoint import save
    from secateur.models.surgery import widths_of
    from secateur.training.class_weights import class_weights
    from secateur.training.dense import model_for, tokenizer_of
    from secateur.training.history import write_history
    from secateur.training.loop import Plan, train_
    from secateur.training.objectives import LabelLoss, logits_of
    from secateur.training.prepared_rows import TRAIN, VALIDATION, write_logits

    device = enter(run)
    labels: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    controls = {label: control_token(label) for label in labels} if baseline.control else {}
    tokenizer = tokenizer_of(job.inputs["base"], job.inputs["train"], baseline, labels=list(controls))
    tokens, kind = job.outputs["tokens"], kind_named(run.task)
    tokens.mkdir(parents=True)
    cut = kind.tokenize(
        {part: job.inputs[part] for part in ("train", "validation")},
        tokens,
        tokenizer=tokenizer,
        labels=labels,
        controls=controls,
        max_length=baseline.max_length,
    )
    # Read back as every round will.
    train, validation = read_tokens(tokens / TRAIN), read_tokens(tokens / VALIDATION)
    model = model_for(job.inputs["base"], tokenizer, kind=kind, labels=labels, baseline=baseline)
    kind.start_(model, train)
    model.to(device)
    plan = Plan(
        title=job.stage,
        settings=baseline.settled(
            rows=len(train), labels=len(labels) if kind.predicts_labels else 0, sets=kind.label_sets
        ),
        seed=run.seed,
        precision=run.precision,
        evaluations_per_epoch=baseline.evaluations_per_epoch,
        patience=baseline.patience,
    )
    weights = class_weights(train.labels, baseline.class_weights, num_labels=len(labels))
    objective = LabelLoss(baseline.label_smoothing, class_weights=weights)
    trained = train_(model, train=train, validation=validation, objective=objective, plan=plan)
    if kind.keeps_logits:
        logits = logits_of(model, train, batch_size=2 * baseline.batch_size, precision=run.precision)
        write_logits(tokens, logits)
    if job.rank > 0:
        return  # the first process writes
    write_history(job.outputs["history"], trained.history, kind=run.task)
    widths = widths_of(model).as_dict()
    windowed = {} if train.windows is None else {"windowed": train.windowed}
    card = Card(
        stage=job.stage,
        key=job.key,
        task=run.task,
        state="dense",
        parameters=dict(job.parameters),
        inputs=dict(job.digests),
        seed=run.seed,
        fingerprint=fingerprint(constraints=job.constraints, device=device),
        labels=labels,
        max_length=baseline.max_length,
        cut_texts=cut,
        text_rules=json.loads(job.inputs["text_rules"].read_text(encoding="utf-8")),
        widths=widths,
        dense_widths=widths,
        asked=None,
        achieved=None,
        training=trained.length.as_dict(),
        metrics=trained.best.as_metrics(),
        accepted=True,
        stopped=False,
        reason=None,
        tried=None,
    ).changed(**kind.in_card(controls), **in_card(job.inputs["train"]), **windowed)
    save(model.cpu(), tokenizer, job.outputs["model"], card=card)
