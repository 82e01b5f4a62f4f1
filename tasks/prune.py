"""Stage ``prune``: one round; a round that fails the quality floor leaves the model before it in place."""

from typing import Any

from secateur.config.prune import PruneSettings, Round
from secateur.config.run import RunSection
from secateur.determinism import fingerprint, fix_randomness
from secateur.models.card import read_card
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.models.structures import Widths
from secateur.pruning.round import Outcome, Reference, prune_
from secateur.pruning.schedule import target_of
from secateur.training.history import write_history
from secateur.training.material import read_material
from tasks.job import Job


def run(job: Job, *, run: RunSection, prune: PruneSettings, round: Round) -> None:  # noqa: A002  the graph's name
    """Run the round that ``job.stage`` names (``prune@r2``).

    Inputs are ``tokens``, ``dense`` and ``prev`` (checkpoints; the same folder for the first round). Outputs are
    ``model`` and ``history``. Below the quality floor, and in every round after that, the model is ``prev``'s,
    bit by bit, and the card says ``stopped`` and why.

    Raises:
        BudgetError: the target of the round is out of reach.
    """
    fix_randomness(seed=run.seed, num_threads=run.num_threads)
    before, dense = read_card(job.inputs["prev"]), read_card(job.inputs["dense"])
    name = job.stage.partition("@")[2]
    target = target_of(_number(name), round_=round, schedule=prune.schedule, final=prune.budget.fraction)
    if before["stopped"]:
        write_history(job.outputs["history"], ())
        changes: dict[str, Any] = {"reason": before["reason"], "tried": None}
        _save_unchanged(job, run=run, before=before, target=target, prune=prune, changes=changes)
        return
    material = read_material(job.inputs["tokens"])
    reference = Reference(
        widths=_widths(dense),
        macro_f1=dense["metrics"]["validation_macro_f1"],
        logits=material.dense_logits,
    )
    model = load(job.inputs["prev"])
    outcome = prune_(
        model,
        train=material.train,
        validation=material.validation,
        reference=reference,
        target=target,
        settings=prune,
        round_=round,
        # Rounds differ in the order of the rows, and none repeats the baseline's.
        seed=run.seed + _number(name),
        precision=run.precision,
        title=job.stage,
    )
    write_history(job.outputs["history"], outcome.history)
    if not outcome.accepted:
        changes = {"reason": f"{name} was rolled back: {outcome.reason}", "tried": outcome.tried()}
        _save_unchanged(job, run=run, before=before, target=target, prune=prune, changes=changes)
        return
    card = _card(job, run=run, before=before, target=target, prune=prune) | _accepted(outcome)
    save(model.cpu(), load_tokenizer(job.inputs["prev"]), job.outputs["model"], card=card)


def _accepted(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": "recovered",
        "widths": outcome.widths.as_dict(),
        "achieved": outcome.achieved,
        "metrics": outcome.scores.as_metrics(),
        "accepted": True,
        "stopped": False,
        "reason": None,
        "tried": None,
    }


def _save_unchanged(
    job: Job,
    *,
    run: RunSection,
    prune: PruneSettings,
    before: dict[str, Any],
    target: float,
    changes: dict[str, Any],
) -> None:
    """Write the checkpoint of the round before once more, with a card that says what happened."""
    inherited = {key: before[key] for key in ("state", "widths", "achieved", "metrics")}
    card = _card(job, run=run, prune=prune, before=before, target=target)
    card |= inherited | {"accepted": False, "stopped": True} | changes
    prev = job.inputs["prev"]
    save(load(prev), load_tokenizer(prev), job.outputs["model"], card=card, check_reload=False)


def _card(job: Job, *, run: RunSection, prune: PruneSettings, before: dict[str, Any], target: float) -> dict[str, Any]:
    """Return what every card of this stage says, whatever the round came to."""
    return {
        "stage": job.stage,
        "key": job.key,
        "task": run.task,
        "parameters": dict(job.parameters),
        "inputs": dict(job.digests),
        "seed": run.seed,
        "fingerprint": fingerprint(constraints=job.constraints),
        "labels": before["labels"],
        "max_length": before["max_length"],
        "text_rules": before.get("text_rules"),
        "dense_widths": before["dense_widths"],
        "asked": {prune.budget.kind: target},
    }


def _number(name: str) -> int:
    """Return 2 for ``r2``."""
    return int(name.removeprefix("r"))


def _widths(card: dict[str, Any]) -> Widths:
    stored = card["dense_widths"]
    return Widths(heads=tuple(stored["heads"]), ffn=tuple(stored["ffn"]), head_dim=stored["head_dim"])
