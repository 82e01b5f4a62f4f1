"""Stage ``baseline``: tokenise once, train the dense model, and keep what the rounds need of it."""

import json
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.baseline import BaselineSection
from secateur.config.run import RunSection
from secateur.data.documents import read_texts
from secateur.data.provenance import read_provenance
from secateur.data.tokenizer_training import control_token, controlled_, train_tokenizer
from secateur.data.tokens import read_tokens
from secateur.determinism import fingerprint, fix_randomness
from secateur.kinds.registry import kind_named
from secateur.models.card import Card
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.training.history import write_history
from secateur.training.loop import Plan, train_
from secateur.training.material import TRAIN, VALIDATION, write_logits
from secateur.training.objectives import LabelLoss, logits_of
from secateur.training.scratch import scratch_folder, with_room_for_
from secateur.workflow.job import Job


def run(job: Job, *, run: RunSection, baseline: BaselineSection) -> None:
    """Train the dense model: fine-tune a pretrained one, or start from nothing.

    Inputs are ``train``, ``validation`` (parquet), ``labels``, ``text_rules`` (JSON) and ``base`` (a folder with a
    model, or with a config alone). Outputs are ``tokens`` (token files, and a classifier's logits), ``model`` (a
    checkpoint) and ``history`` (CSV).

    Raises:
        DataError: there are no rows.
        ModelError: the base cannot be used, or training diverged.
        ConfigError: the tokenizer has no room, or texts are longer than the model can read.
    """
    fix_randomness(seed=run.seed, num_threads=run.num_threads)
    labels: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    controls = {label: control_token(label) for label in labels} if baseline.control else {}
    tokenizer = _tokenizer(job, baseline, labels=list(controls))
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
    model = _model(job, tokenizer, labels=labels if kind.predicts_labels else None, baseline=baseline)
    plan = Plan(
        title=job.stage,
        settings=baseline.settled(rows=len(train), labels=len(labels) if kind.predicts_labels else 0),
        seed=run.seed,
        precision=run.precision,
        evaluations_per_epoch=baseline.evaluations_per_epoch,
        patience=baseline.patience,
    )
    objective = LabelLoss(baseline.label_smoothing)
    trained = train_(model, train=train, validation=validation, objective=objective, plan=plan)
    if kind.keeps_logits:
        logits = logits_of(model, train, batch_size=2 * baseline.batch_size, precision=run.precision)
        write_logits(tokens, logits)
    write_history(job.outputs["history"], trained.history, kind=run.task)
    widths = widths_of(model).as_dict()
    card = Card(
        stage=job.stage,
        key=job.key,
        task=run.task,
        state="dense",
        parameters=dict(job.parameters),
        inputs=dict(job.digests),
        seed=run.seed,
        fingerprint=fingerprint(constraints=job.constraints),
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
    ).changed(**kind.in_card(controls))
    save(model.cpu(), tokenizer, job.outputs["model"], card=card)


def _from_nothing(job: Job) -> bool:
    return bool(read_provenance(job.inputs["base"])["kind"] == "scratch")


def _tokenizer(job: Job, baseline: BaselineSection, *, labels: list[str]) -> PreTrainedTokenizerBase:
    """Train a tokenizer, or take the base's; either knows the control tokens of ``labels``."""
    if baseline.tokenizer.kind == "model":
        return controlled_(load_tokenizer(job.inputs["base"]), labels)
    texts = (row.text for row in read_texts(job.inputs["train"], labels=()))
    return train_tokenizer(texts, baseline.tokenizer, labels=labels, max_length=baseline.max_length)


def _model(
    job: Job, tokenizer: PreTrainedTokenizerBase, *, labels: list[str] | None, baseline: BaselineSection
) -> PreTrainedModel:
    """Build the model that is trained; a vocabulary of one's own decides the size of the embeddings."""
    base: Path = job.inputs["base"]
    if baseline.tokenizer.kind == "model":
        model = load_base(base, labels=labels, scratch=_from_nothing(job))
    else:
        with scratch_folder(base, tokenizer) as folder:
            model = load_base(folder, labels=labels, scratch=True)
    return with_room_for_(model, tokenizer, max_length=baseline.max_length)
