"""``register``: publish the dense model and every accepted round, with all that is needed to rebuild them."""

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.register import RegisterSection
from secateur.workflow.job import Job
from secateur.workflow.stage import LATENCY_TABLE, Stage, section

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(config: "RunConfig", _root: Path) -> list[Stage]:
    """Publish what was evaluated; what it writes is in the registry, and never compared."""
    checkpoints = {f"model.{name}": f"models/{name}" for name in ("baseline", *config.prune.rounds)}
    return [
        Stage(
            name="register",
            inputs={
                "metrics": "reports/metrics.json",
                "details": "reports/details.json",
                "data": "reports/data.json",
                **checkpoints,
            },
            parameters=(section("register", attribute="register_"),),
            effects={"registered": "reports/registered.json"},
            effect_inputs=("reports/latency.json", ".secateur/exports"),
        )
    ]


def measure(job: Job, *, register: RegisterSection) -> None:
    """Register what is not registered yet, and point ``challenger`` at the round that is deployed.

    Rolled-back rounds carry the weights of the round before them and are left out; what they tried and why it was not
    accepted is a tag of the others. The choice of the challenger rests on validation alone: a round is accepted by its
    validation score, and the last one that pays for what it may lose is chosen.

    Raises:
        ConfigError: ``register.runtime`` is not the form that was evaluated.
    """
    from secateur.files import write_json
    from secateur.kinds.registry import DEFAULT
    from secateur.models.card import Card
    from secateur.models.chosen_round import chosen_round
    from secateur.registry.mlflow_store import ModelRegistry, Version
    from secateur.registry.publication import (
        deployed_folder,
        history_of,
        numbers_of,
        require_evaluated,
        rolled_back_tags,
        shared_tags,
        tags_of,
    )
    from secateur.registry.tags import CHALLENGER, CHAMPION, VersionTags
    from secateur.registry.who import now
    from secateur.workflow.exports import exports_of
    from secateur.workflow.project import Project
    from secateur.workflow.results import comparison
    from secateur.workflow.tried import checkpoints_of

    root = job.inputs["metrics"].parent.parent
    require_evaluated(job, register.runtime)
    project = Project(root)
    rows = {row["model"]: row for row in comparison(root)}
    rolled_back = rolled_back_tags(job, rows)
    shared = VersionTags(shared_tags(project, job) | rolled_back)
    registry = ModelRegistry(project)
    checkpoints = checkpoints_of(job)
    accepted = {name: card for name, folder in checkpoints.items() if (card := Card.read(folder)).accepted}
    with exports_of(job) as exports:
        versions = [
            Version(
                name=name,
                checkpoint=checkpoints[name],
                runtime=register.runtime,
                deployed=deployed_folder(checkpoints[name], card, runtime=register.runtime, exports=exports),
                tags=shared.with_(tags_of(card)),
                metrics=numbers_of(rows[name]),
                parameters=card.parameters,
                history=history_of(root / "reports" / "training" / f"{name}.csv"),
                kind=card.task or DEFAULT,
                num_texts=card.num_texts or 1,
            )
            for name, card in accepted.items()
        ]
        published = registry.publish(
            versions,
            experiment=register.experiment,
            model_name=register.model_name,
            run_name=f"build-{job.key[:8]}",
            files=[
                *(root / name for name in ("dvc.lock", "params.yaml", LATENCY_TABLE)),
                job.inputs["metrics"],
                job.inputs["data"],
            ],
        )
    chosen = chosen_round(accepted)
    # It may have been registered before they were tried.
    registry.tag(register.model_name, published[chosen], rolled_back)
    registry.set_alias(register.model_name, CHALLENGER, published[chosen])
    written = {"tracking_uri": registry.uri, "model": register.model_name, "versions": published, "alias": CHALLENGER}
    known = {"chosen": chosen, "champion": registry.aliases(register.model_name).get(CHAMPION), "when": now()}
    write_json(job.effects["registered"], written | known)
