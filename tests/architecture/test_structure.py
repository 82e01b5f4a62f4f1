"""The rooms and their doors: imports, one word per stage, dvc.yaml, params.yaml, the option surface."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from secateur.config.base import Section
from secateur.config.catalogue import parameters
from secateur.config.prune import FORMER_NAMES
from secateur.config.schema import RunConfig
from secateur.workflow import code_lock
from secateur.workflow.params import flatten, read_config
from secateur.workflow.project import Project
from secateur.workflow.rendering import render
from secateur.workflow.stages import stages

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)
STAGES = ("ingest", "clean", "baseline", "prune", "evaluate", "register", "report")


def test_dvc_yaml_agrees_with_the_registry() -> None:
    assert PROJECT.pipeline_file.read_text() == render(PROJECT, read_config(PROJECT)), "run `secateur plan`"


def test_code_lock_agrees_with_the_code() -> None:
    assert code_lock.is_current(PROJECT, read_config(PROJECT)), "run `secateur plan`"


@pytest.mark.parametrize("name", STAGES)
def test_one_word_names_stage_section_file_and_test(name: str) -> None:
    assert name in {field.alias or key for key, field in RunConfig.model_fields.items()}
    assert (ROOT / "tasks" / f"{name}.py").is_file()
    assert (ROOT / "secateur" / "config" / f"{name}.py").is_file()
    assert (ROOT / "tests" / "tasks" / f"test_{name}.py").is_file()
    assert name in {stage.name for stage in stages(read_config(PROJECT), ROOT)}


def test_params_yaml_says_what_the_demo_chooses_and_dvc_yaml_can_be_read() -> None:
    assert len(PROJECT.params_file.read_text().splitlines()) <= 70
    assert len(PROJECT.pipeline_file.read_text().splitlines()) <= 170


def test_dvc_yaml_names_no_parameter_that_params_yaml_leaves_out() -> None:
    values = YAML(typ="safe").load(PROJECT.params_file.read_text())
    values["prune"]["rounds"]["${key}"] = "each of them"
    for name, entry in YAML(typ="safe").load(PROJECT.pipeline_file.read_text())["stages"].items():
        listed = [key for key in entry.get("do", entry)["params"] if isinstance(key, str)]
        left_out = [key for key in listed if not any(f"{one}.".startswith(f"{key}.") for one in flatten(values))]
        assert left_out == [], name


@pytest.mark.parametrize("name", STAGES)
def test_the_code_of_a_stage_holds_the_sections_that_its_body_takes_and_no_other(name: str) -> None:
    config = read_config(PROJECT)
    stage = next(stage for stage in stages(config, ROOT) if stage.name == name)
    fields = {field.alias or key: field for key, field in RunConfig.model_fields.items()}
    defined = set()
    for section in {key.partition(".")[0] for key in stage.keys}:
        kind = fields[section].annotation
        assert isinstance(kind, type)
        defined |= _modules_of(kind)
    found = {
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file in code_lock.code_of(PROJECT, config)[name].files
        if file.startswith("secateur/config/")
    }
    assert defined <= found
    # Words of `run` and of what all sections share are types of arguments everywhere; addresses are text.
    shared = {"secateur.config", "secateur.config.base", "secateur.config.run", "secateur.config.addresses"}
    # How a section asks which criteria there are; of these the stage holds the one that is chosen.
    registry = {
        f"secateur.config.{module}" for module in ("brought", "criteria", "families", "registered", "regularizers")
    }
    assert found - defined <= shared | registry


def _modules_of(section: type) -> set[str]:
    """Return the modules that hold the defaults of a section: its own, those it inherits, those of its fields."""
    found = {kind.__module__ for kind in section.__mro__ if kind.__module__.startswith("secateur.config.")}
    for field in getattr(section, "model_fields", {}).values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= _modules_of(kind)
    return found


def test_every_parameter_is_described() -> None:
    assert [row["name"] for row in parameters() if not row["description"]] == []


def test_a_stage_sees_only_parameters_that_are_part_of_its_identity() -> None:
    config = read_config(PROJECT)
    known = {*flatten(config.model_dump(by_alias=True)), *(f"prune.{name}" for name in FORMER_NAMES)}
    for stage in stages(config, ROOT):
        for parameter in stage.parameters:
            for key in parameter.keys:
                assert any(name == key or name.startswith(f"{key}.") for name in known), key


def test_the_test_set_is_read_by_nothing_before_evaluate() -> None:
    readers = [s.name for s in stages(read_config(PROJECT), ROOT) if "data/clean/test.parquet" in s.inputs.values()]
    assert readers == ["evaluate"]


@pytest.mark.parametrize(
    "module",
    [
        "secateur",
        "secateur.config",
        "secateur.cli",
        "secateur.workflow.stages",
        "secateur.workflow.explain",
        "secateur.workflow.driver",
    ],
)
def test_cheap_modules_import_no_heavy_ones(module: str) -> None:
    heavy = ("torch", "transformers", "prefect", "mlflow", "datasets")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert completed.stdout.strip() == "[]"


def test_mlflow_prefect_and_dvc_are_imported_where_they_belong() -> None:
    allowed = {
        "mlflow": {
            "secateur/registry/mlflow_store.py",
            "secateur/registry/mlflow_artifacts.py",
            "secateur/registry/mlflow_flavor.py",
            "secateur/registry/mlflow_records.py",
            "secateur/registry/mlflow_runs.py",
            "secateur/registry/mlflow_versions.py",
        },
        "dvc": {
            "secateur/workflow/dvc_lock.py",
            "secateur/workflow/dvc_objects.py",
            "secateur/workflow/dvc_repro.py",
            "secateur/workflow/dvc_store.py",
        },
        "prefect": {
            "secateur/workflow/announce.py",
            "flows/build.py",
            "secateur/workflow/prefect_app.py",
            "secateur/workflow/prefect_server.py",
            "secateur/workflow/running.py",
            "secateur/scheduling/schedule.py",
            "secateur/workflow/stage_task.py",
            "secateur/scheduling/watch.py",
        },
    }
    for tool, files in allowed.items():
        pattern = re.compile(rf"^\s*(import|from) {tool}\b", re.MULTILINE)
        found = {
            path.relative_to(ROOT).as_posix()
            for package in ("secateur", "flows", "tasks")
            for path in (ROOT / package).rglob("*.py")
            if pattern.search(path.read_text())
        }
        assert found == files


def test_hugging_face_attribute_names_live_in_the_families() -> None:
    names = re.compile(r"\.(self_attn|q_lin|k_lin|attention\.self|intermediate\.dense|ffn\.lin1)\b")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "secateur").rglob("*.py")
        if "families" not in path.parts and names.search(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("file", sorted([*(ROOT / "flows").glob("*.py"), *(ROOT / "tasks").glob("*.py")]), ids=str)
def test_flows_and_stages_are_a_screen_or_two_and_import_the_package_alone(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name is not None
    }
    assert imported - {"secateur", "prefect"} <= sys.stdlib_module_names


def test_what_the_stages_declare_is_known_without_what_they_compute_with() -> None:
    heavy = ("torch", "transformers", "prefect", "mlflow", "datasets", "sklearn", "matplotlib", "ftfy")
    code = (
        "import sys\nfrom pathlib import Path\nfrom secateur.workflow.params import read_config\n"
        "from secateur.workflow.project import Project\nfrom secateur.workflow.stages import stages\n"
        f"assert len(stages(read_config(Project(Path.cwd())), Path.cwd())) > 6\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert completed.stdout.strip() == "[]"


def test_no_pickle_and_no_remote_code() -> None:
    pattern = re.compile(r"pickle\.load|torch\.load\(|trust_remote_code=True|joblib\.load")
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("secateur", "flows", "tasks")
        for path in (ROOT / package).rglob("*.py")
        if pattern.search(path.read_text())
    ]
    # A process of its own, which reads weights alone and imports nothing of ours.
    assert found == ["secateur/models/unpickling.py"]


def test_every_package_that_is_asked_for_is_pinned() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = declared["dependencies"] + [name for extra in declared["optional-dependencies"].values() for name in extra]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    names = {re.split(r"[<>=!~ ]", name)[0].lower().replace("_", "-") for name in asked}
    assert names - pinned == set()
    assert "://" not in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("python", ["3.11.0", "3.13.0"])
def test_what_is_pinned_can_be_installed_on_every_python_that_is_named(python: str) -> None:
    """A pin that the oldest one refuses, or a package that only the newest one needs, shows on that machine alone."""
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    pinned = {canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    missing, refused = set(), []
    for package in importlib.metadata.distributions():
        if canonicalize_name(package.name) not in pinned:
            continue
        if not SpecifierSet((package.metadata.get_all("Requires-Python") or [""])[0]).contains(python):
            refused.append(f"{package.name} {package.version}")
        for line in package.requires or []:
            asked = Requirement(line)
            if "extra" not in str(asked.marker) and (asked.marker is None or asked.marker.evaluate(environment)):
                missing |= {canonicalize_name(asked.name)} - pinned
    assert (refused, missing) == ([], set())
