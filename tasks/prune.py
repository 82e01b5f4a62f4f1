"""``prune``: one round; a round that fails the quality floor leaves the model before it in place."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.config.criteria import CRITERIA
from secateur.config.prune import PruneSettings, Round
from secateur.config.regularizers import REGULARIZERS
from secateur.config.run import RunSection
from secateur.workflow.job import Job
from secateur.workflow.stage import LATENCY_TABLE, Output, Parameter, Stage, section

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(config: "RunConfig", _root: Path) -> list[Stage]:
    """One stage per round, each from the dense model and from the model before it."""
    shared = {}
    if config.prune.budget.kind == "latency":
        # Measured once by `secateur run`; no stage measures what decides its own outputs.
        shared["latency_table"] = LATENCY_TABLE
    if config.prune.max_robust_drop is not None:
        shared["validation"] = "data/clean/validation.parquet"
    trained_with = [REGULARIZERS.find(name).module for name in config.prune.of_shrinker]
    return [
        Stage(
            name="prune",
            item=item,
            trains=True,
            inputs={"tokens": "data/tokens", "dense": "models/baseline", "prev": f"models/{entry.prev}", **shared},
            parameters=(section("run"), _SETTINGS, _round(item)),
            outputs={
                "model": Output(f"models/{item}"),
                "history": Output(f"reports/training/{item}.csv", "plot"),
            },
            chosen=(CRITERIA.find(config.prune.criterion).module, *trained_with),
        )
        for item, entry in config.prune.rounds.items()
    ]


_SETTINGS = Parameter(
    "prune",
    tuple(f"prune.{name}" for name in PruneSettings.model_fields),
    lambda config: config.prune.shared(),
)
"""All that the rounds share, each entry by itself: so that a change to r2 is none to r1."""


def _round(item: str) -> Parameter:
    return Parameter("round", (f"prune.rounds.{item}",), lambda config: config.prune.rounds[item])


def run(job: Job, *, run: RunSection, prune: PruneSettings, round: Round) -> None:  # noqa: A002  the graph's name
    """Run the round that ``job.stage`` names (``prune@r2``).

    Inputs are ``tokens``, ``dense`` and ``prev`` (checkpoints; the same folder for the first round), ``latency_table``
    for a budget of time and ``validation`` (parquet) for a floor of robustness. Outputs are ``model`` and
    ``history``. Below the quality floor, and in every round after that, the model is ``prev``'s, bit by bit, and
    the card says ``stopped`` and why; what was tried lies beside it as a checkpoint of its own
    (``secateur.workflow.tried``).

    Raises:
        BudgetError, ConfigError: the target of the round is out of reach, or the device is not there.
    """
    from secateur.budget.goal import goal_of
    from secateur.inference.device import enter
    from secateur.models.card import Card
    from secateur.models.checkpoint import load, save
    from secateur.pruning.state_files import read_state, write_state
    from secateur.pruning.tries import run_round
    from secateur.pruning.vocabulary_check import choose_cut
    from secateur.training.history import write_history
    from secateur.training.prepared_rows import read_prepared_rows
    from secateur.workflow import rounds

    device = enter(run)
    before, dense = Card.read(job.inputs["prev"]), Card.read(job.inputs["dense"])
    name = job.stage.partition("@")[2]
    goal = goal_of(rounds.number_of(name), round_=round, settings=prune)
    if before.stopped:
        write_history(job.outputs["history"], (), kind=run.task)
        changes: dict[str, Any] = {"reason": before.reason, "tried": None, "tries": [], "probes": []}
        rounds.save_unchanged(job, run=run, before=before, goal=goal, prune=prune, changes=changes)
        return
    model, vocabulary = load(job.inputs["prev"]).to(device), rounds.vocabulary_of(job)
    state = read_state(job.inputs["prev"], model, card=before)
    prepared = read_prepared_rows(job.inputs["tokens"])
    dense_model = load(job.inputs["dense"]).to(device)
    judge = rounds.judge_of(dense_model, prepared, dense=dense, run=run, prune=prune, promise=goal.max_drop)
    cut = choose_cut(vocabulary, judge, asked=prune.vocabulary_min_count)
    vocabulary = vocabulary.narrowed_(model, prepared.train, min_count=cut.min_count if cut else 0)
    result = run_round(
        model,
        train=vocabulary.translate(prepared.train, max_length=before.require_max_length()),
        validation=vocabulary.translate(prepared.validation, max_length=before.require_max_length()),
        dense_model=rounds.dense_model_of(job, dense_model, prepared, vocabulary, dense=dense, run=run, prune=prune),
        goal=goal,
        settings=prune,
        round_=round,
        # Rounds differ in the order of the rows, and none repeats the baseline's.
        seed=run.seed + rounds.number_of(name),
        precision=run.precision,
        title=job.stage,
        state=state,
    )
    if job.rank > 0:
        return  # the first process writes
    outcome = result.outcome
    write_history(job.outputs["history"], outcome.history, kind=run.task)
    card = rounds.card_of(job, run=run, before=before, goal=goal, prune=prune).changed(
        **rounds.came_to(outcome), **result.as_card(), vocabulary=cut.as_dict() if cut else before.vocabulary
    )
    if not outcome.accepted:
        tried = {**outcome.tried(), "vocabulary": card.vocabulary}
        changes = {"reason": f"{name} was rolled back: {outcome.reason}", "tried": tried, **result.as_card()}
        rounds.save_unchanged(
            job,
            run=run,
            before=before,
            goal=goal,
            prune=prune,
            changes=changes,
            tried=lambda folder: rounds.save_tried(
                folder, outcome, vocabulary, card=card.changed(reason=outcome.reason)
            ),
        )
        return
    save(
        outcome.model.cpu(),
        vocabulary.tokenizer,
        job.outputs["model"],
        card=card,
        beside=lambda folder: write_state(folder, outcome.state),
    )
