"""``latency_table.json``: measured prices, taken once and kept, so that a rebuild meets the same numbers.

The table is an input of every round whose budget is time. A measured time inside a stage would change its
outputs from run to run; a file that is committed does not.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.schema import RunConfig
from secateur.errors import MeasurementError, ProjectError
from secateur.kinds.registry import kind_named
from secateur.workflow.project import Project
from secateur.workflow.stage import LATENCY_TABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from secateur.budget.latency_table import LatencyTable


def ensure(project: Project, config: RunConfig) -> str | None:
    """Measure the table if the budget is time and the file is missing or belongs to other settings or shapes.

    Another machine is no reason: a rebuild must take the same numbers.

    Returns:
        One line for the user about what was done or kept; None when there is nothing to say.

    Raises:
        MeasurementError: what was measured is too noisy to be kept; nothing is written.
        ModelError: the model cannot be read, or is shorter than ``prune.latency.length``.
        ProjectError: the file is no latency table.
    """
    if not is_needed(config):
        return None
    from secateur.budget.latency_measurement import measure_table
    from secateur.budget.latency_table import LatencyTable, shape_of

    shapes = model_config(project, config)
    if shapes is None:
        return f"{LATENCY_TABLE} is measured when ingest has fetched the model; run again after it"
    file = project.root / LATENCY_TABLE
    wanted = config.prune.latency
    if file.exists():
        found = LatencyTable.read(file)
        shape = shape_of(shapes, hidden_size=config.prune.hidden_size)
        if found.mismatch(wanted, shape) is None and found.shape.vocab_size == shape.vocab_size:
            return _kept(replace(found, settings=wanted))
    table = measure_table(shapes, wanted, hidden_size=config.prune.hidden_size)
    if table.doubt is not None:
        needed = math.ceil(100 * max(table.worst_error, table.spread)) / 100
        raise MeasurementError(
            f"{LATENCY_TABLE} was measured and not kept: it {table.doubt}; run again when the machine is quieter, or "
            f"-S prune.latency.max_error={needed:g} accepts such a table"
        )
    table.write(file)
    return (
        f"{LATENCY_TABLE} was measured: dense {table.dense_ms:.2f} ms on {wanted.runtime}, predictions are within "
        f"{table.worst_error:.1%} on {len(table.judged)} models it was not fitted to, passes within {table.spread:.1%}"
    )


def require_present(project: Project, config: RunConfig) -> None:
    """Refuse to run a stage towards a budget of time that nobody has measured.

    Raises:
        ProjectError: there is no table.
    """
    if is_needed(config) and not (project.root / LATENCY_TABLE).is_file():
        budget = config.prune.budget
        asked = f"latency={budget.latency:g}" if budget.max_drop is None else f"max_drop={budget.max_drop:g}"
        raise ProjectError(f"prune.budget.{asked} needs {LATENCY_TABLE}, which is missing; `secateur run` measures it")


def is_needed(config: RunConfig) -> bool:
    """Tell whether the budget is time."""
    return config.prune.budget.kind == "latency"


def model_config(project: Project, config: RunConfig) -> "PreTrainedConfig | None":
    """Return the config of the dense model: a local one, or what ``ingest`` has copied; None before that."""
    from secateur.data.pretrained import check_model
    from secateur.models.folders import CONFIG

    found = check_model(config.baseline.model, root=project.root)
    # A scratch config may have any name; the copy has the usual one.
    folder = found.parent if found is not None and found.name == CONFIG else project.root / "models/base"
    if not (folder / CONFIG).is_file():
        return None
    return shapes_of(folder, config)


def shapes_of(folder: Path, config: RunConfig) -> "PreTrainedConfig":
    """Return the config of the dense model that ``baseline`` will make of a base folder.

    Raises:
        ModelError: the architecture is not supported, or cannot do what ``run.task`` asks for.
        CheckpointError: there is no config, or it cannot be read.
    """
    from secateur.models.base_model import task_config
    from secateur.models.construction import read_config

    # How many labels the rows have is known later, and costs nothing that could be measured.
    outputs = kind_named(config.run.task).outputs(list(read_config(folder).id2label.values()))
    shapes = task_config(folder, labels=outputs)
    if outputs is None and config.baseline.tokenizer.kind != "model":
        # It is trained later; every token that a generator writes costs a look at the whole vocabulary.
        shapes.vocab_size = config.baseline.tokenizer.vocab_size
    return shapes


def _kept(table: "LatencyTable") -> str | None:
    """Say what the user may not know about a table that is there already."""
    told = [said for said in (_other_machine(table), table.doubt) if said is not None]
    return f"{LATENCY_TABLE} {', '.join(told)} and is kept; delete it to measure here" if told else None


def _other_machine(table: "LatencyTable") -> str | None:
    from secateur.inference.machine import describe_machine

    machine = describe_machine()
    other = [f"{name}: {value}" for name, value in table.machine.items() if machine.get(name) != value]
    if not other:
        return None
    return f"was measured on another machine ({', '.join(other)})"
