"""Stage ``baseline``: tokenise once, fine-tune the dense model, and keep its logits for the rounds."""

import json
from pathlib import Path
from typing import Any

from secateur.config.baseline import BaselineSection
from secateur.config.run import RunSection
from secateur.data.provenance import read_provenance
from secateur.data.tokens import read_tokens, tokenize
from secateur.determinism import fingerprint, fix_randomness
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.training.history import write_history
from secateur.training.loop import Plan, train_
from secateur.training.material import TRAIN, VALIDATION, write_logits
from secateur.training.objectives import CrossEntropy, logits_of
from tasks.job import Job


def run(job: Job, *, run: RunSection, baseline: BaselineSection) -> None:
    """Fine-tune the dense model.

    Inputs are ``train``, ``validation`` (parquet), ``labels``, ``text_rules`` (JSON) and ``base`` (a pretrained
    folder). Outputs are ``tokens`` (token files and dense logits), ``model`` (a checkpoint) and ``history`` (CSV).

    Raises:
        DataError: there are no rows.
        ModelError: the base cannot be used, or training diverged.
    """
    fix_randomness(seed=run.seed, num_threads=run.num_threads)
    labels: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    text_rules: dict[str, Any] = json.loads(job.inputs["text_rules"].read_text(encoding="utf-8"))
    tokens = job.outputs["tokens"]
    tokenizer = load_tokenizer(job.inputs["base"])
    _tokenize(job, tokenizer=tokenizer, max_length=baseline.max_length, folder=tokens)
    train, validation = read_tokens(tokens / TRAIN), read_tokens(tokens / VALIDATION)
    from_nothing = read_provenance(job.inputs["base"])["kind"] == "scratch"
    model = load_base(job.inputs["base"], labels=labels, scratch=from_nothing)
    plan = Plan(
        title=job.stage,
        settings=baseline,
        seed=run.seed,
        precision=run.precision,
        evaluations_per_epoch=baseline.evaluations_per_epoch,
        patience=baseline.patience,
    )
    objective = CrossEntropy(baseline.label_smoothing)
    trained = train_(model, train=train, validation=validation, objective=objective, plan=plan)
    logits = logits_of(model, train, batch_size=2 * baseline.batch_size, precision=run.precision)
    write_logits(tokens, logits)
    write_history(job.outputs["history"], trained.history)
    widths = widths_of(model).as_dict()
    card = {
        "stage": job.stage,
        "key": job.key,
        "task": run.task,
        "state": "dense",
        "parameters": dict(job.parameters),
        "inputs": dict(job.digests),
        "seed": run.seed,
        "fingerprint": fingerprint(constraints=job.constraints),
        "labels": labels,
        "max_length": baseline.max_length,
        "text_rules": text_rules,
        "widths": widths,
        "dense_widths": widths,
        "asked": None,
        "achieved": None,
        "metrics": trained.best.as_metrics(),
        "accepted": True,
        "stopped": False,
        "reason": None,
        "tried": None,
    }
    save(model.cpu(), tokenizer, job.outputs["model"], card=card)


def _tokenize(job: Job, *, tokenizer: Any, max_length: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    for source, name in (("train", TRAIN), ("validation", VALIDATION)):
        tokenize(job.inputs[source], tokenizer=tokenizer, max_length=max_length, out=folder / name)
