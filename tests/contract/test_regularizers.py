"""One suite for all regularisers, ours and one that another package brings in one file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from docs.generate import regularizers as reference
from secateur.config.catalogue import parameters
from secateur.config.effective import effective
from secateur.config.one_shot import one_shot_settings
from secateur.config.prune import PruneSection
from secateur.config.regularizers import REGULARIZERS
from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from secateur.extensions import forget
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.models.groups import with_masks
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.regularizer import OnChosen, Regularizer
from secateur.workflow.params import assigned
from tests.foreign_package import install
from tests.regularizer_steps import RATE, step_of
from tests.tiny import REPOSITORY
from tests.unit.pruning.tiny import tiny_model

SHRINK = '''"""``shrink``: every matrix becomes smaller by a share."""

from typing import Annotated, Any

from pydantic import Field

from secateur.config.base import Section
from secateur.pruning.regularizer import Regularizer


class ShrinkSettings(Section):
    share: Annotated[float, Field(gt=0.0, lt=1.0, description="that is left after a step of rate and strength 1")] = 0.5


class Shrink:
    def __init__(self, matrices: list[Any], strength: float, share: float) -> None:
        self._matrices, self._strength, self._share = matrices, strength, share

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        for matrix in self._matrices:
            matrix.data *= self._share ** (learning_rate * self._strength)


def on_all(model: Any, *, training: Any, settings: ShrinkSettings) -> Shrink:
    from secateur.families import family_of

    matrices = [linear.weight for layer in family_of(model).layers(model) for linear in layer.linears()]
    return Shrink(matrices, training.strength, settings.share)


SHRINK = Regularizer(
    name="shrink", summary="a share stays", source="an example", settings=ShrinkSettings, on_all=on_all
)
'''
NAMES = ("l1", "l2", "group_lasso", "shrink")


@pytest.fixture(autouse=True)
def _site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = {"secateur.regularizers": {"shrink": "toy_shrink:SHRINK"}}
    install(tmp_path / "site", name="shrinking", files={"toy_shrink.py": SHRINK}, entry_points=entries)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    forget()
    yield
    forget()
    sys.modules.pop("toy_shrink", None)


def prune_of(**given: Any) -> PruneSection:
    return parse_config({"ingest": {"source": "-", "label_column": "-"}, "prune": given}).prune


def test_every_regularizer_is_in_the_suite() -> None:
    assert REGULARIZERS.names == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_regularizer_says_what_it_is(name: str) -> None:
    found = REGULARIZERS[name]
    assert found.name == name
    assert found.source
    assert 0 < len(found.summary) <= 70
    assert found.settings() is not None, "every setting has a default"
    assert [field for field, info in found.settings.model_fields.items() if not info.description] == []
    assert f"| `{name}`" in reference()


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_norms_and_head_are_left_alone(name: str) -> None:
    model = tiny_model()
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = [groups for groups, _ in with_masks(model, Masks.ones(widths_of(model)))]
    matrices = {names[id(p)] for group in groups for p in group.parameters() if p.dim() > 1}
    step_of(model, name).after_step_(learning_rate=RATE, progress=0.5)
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    # Biases start at zero here, and zero stays zero.
    assert changed == matrices
    assert all(float(model.get_parameter(key).abs().sum()) < float(before[key].abs().sum()) for key in changed)


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_changes_no_bit(name: str) -> None:
    model = tiny_model()
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    step_of(model, name, strength=0.0).after_step_(learning_rate=RATE, progress=1.0)
    assert all(torch.equal(parameter, before[key]) for key, parameter in model.named_parameters())


@pytest.mark.parametrize("name", NAMES)
def test_layers_without_units_are_passed_over(name: str) -> None:
    model = tiny_model(layers=3)
    masks = Masks.ones(widths_of(model))
    masks.heads[1][:] = masks.ffn[0][:] = False
    cut_(model, masks)
    step_of(model, name).after_step_(learning_rate=RATE, progress=1.0)
    assert family_of(model).layers(model)[1].attention.num_heads == 0
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_one_acts_on_all_or_on_what_will_go() -> None:
    described: dict[str, Any] = {"name": "x", "summary": "x", "source": "x", "settings": REGULARIZERS["l1"].settings}
    both = {"on_all": REGULARIZERS["l1"].on_all, "on_chosen": REGULARIZERS["l2"].on_chosen}
    assert isinstance(both["on_chosen"], OnChosen)
    for acts in ({}, both):
        with pytest.raises(ValueError, match="x needs one of on_all and on_chosen"):
            Regularizer(**described, **acts)


def test_ours_are_known_without_torch() -> None:
    code = (
        "import sys; from secateur.config.regularizers import REGULARIZERS as ALL, _OWN; [ALL[name] for name in _OWN]; "
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_round_is_given_the_settings_of_its_regularizer_and_no_others() -> None:
    given = prune_of(regularizer="shrink", regularizers={"shrink": {"share": 0.25}, "l2": {"growth": 3}})
    assert given.shared().model_dump()["regularizers"] == {"shrink": {"share": 0.25}}
    assert given.shared().shrinker is REGULARIZERS["shrink"]
    assert prune_of(criterion="l2").shared().model_dump()["regularizers"] == {"l2": {"growth": 10.0}}
    assert prune_of().shared().model_dump()["regularizers"] == {}
    assert prune_of().shared().shrinker is None
    off = prune_of(regularizer="l1", regularization={"epochs": 0})
    assert off.shared().shrinker is None


def test_the_former_name_of_growth_counts_and_is_what_the_file_names() -> None:
    config = parse_config({
        "ingest": {"source": "-", "label_column": "-"},
        "prune": {"regularizer": "l2", "regularization": {"strength": 2.0, "growth": 3}},
    })  # fmt: skip
    assert config.prune.shared().of_shrinker["l2"].model_dump() == {"growth": 3.0}
    assert config.prune.shared().model_dump()["regularization"] == {
        "strength": 2.0, "epochs": 0.5, "learning_rate": 0.0001,
    }  # fmt: skip
    rows = {row.name: (row.value, row.origin) for row in effective(config)}
    assert rows["prune.regularization.growth"] == (3.0, "params.yaml")
    assert rows["prune.regularizers.l2.growth"] == (3.0, "params.yaml")
    assert "prune.regularization.growth" not in {row["name"] for row in parameters()}
    with pytest.raises(ConfigError, match=r"prune\.regularization\.growth.*greater than or equal to 1"):
        prune_of(regularization={"growth": 0.5})
    with pytest.raises(ConfigError, match=r"regularization\.growth is the former name of regularizers\.l2\.growth"):
        prune_of(regularization={"growth": 2}, regularizers={"l2": {"growth": 4}})
    for name in ("regularization.growth", "regularizers.l2.growth"):
        assert one_shot_settings({"criterion": "l2", name: 5}).of_shrinker["l2"].model_dump() == {"growth": 5.0}


def test_the_schema_takes_one_of_another_package_and_tells_what_was_meant() -> None:
    listed = {row["name"]: row["type"] for row in parameters()}
    assert listed["prune.regularizer"] == "none | l1 | l2 | group_lasso | shrink"
    assert listed["prune.regularizers.shrink.share"] == "number > 0 < 1"
    with pytest.raises(ConfigError, match=r"'shrnk' is no regularizer; did you mean shrink\? known: .*shrink, none"):
        prune_of(regularizer="shrnk")


def test_an_override_reaches_the_settings_of_another_package() -> None:
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    _, config = assigned(text, ["prune.regularizer=shrink", "prune.regularizers.shrink.share=0.25"])
    assert config.prune.shared().model_dump()["regularizers"] == {"shrink": {"share": 0.25}}
