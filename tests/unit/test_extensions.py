"""Objects of ours and of other packages by name: what is imported, and what is said when something is wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.errors import ConfigError
from secateur.extensions import Registry, forget, root_of
from tests.foreign_package import install

GROUP = "secateur.colours"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def registry() -> Registry[object]:
    own = {"third": "fractions:Fraction.from_float", "half": "tests.unit.test_extensions:HALF"}
    return Registry("colour", group=GROUP, type_="builtins:float", own=own, called=None)


HALF = 0.5


def offer(site: Path, package: str, source: str, **entries: str) -> None:
    install(site, name=package, files={f"{package}.py": source}, entry_points={GROUP: entries})


def test_ours_come_first_and_others_are_not_imported_to_be_listed(site: Path) -> None:
    offer(site, "paints", "RED = 0.1\n", red="paints:RED", blue="paints:BLUE")
    assert registry().names == ("third", "half", "blue", "red")
    assert list(registry()) == ["third", "half", "blue", "red"]
    assert registry().find("red").package == "paints 1.0"
    assert "paints" not in sys.modules
    assert registry()["red"] == 0.1
    assert registry()["half"] == 0.5


def test_an_unknown_name_gets_what_was_meant(site: Path) -> None:
    offer(site, "paints", "", crimson="paints:RED")
    with pytest.raises(
        ConfigError, match=r"^'crimsn' is no colour; did you mean crimson\? known: third, half, crimson$"
    ):
        registry()["crimsn"]
    with pytest.raises(ConfigError, match=r"^'xyz' is no colour; known: "):
        registry()["xyz"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError: invalid syntax"),
        ("", "AttributeError: module 'paints' has no attribute 'RED'"),
    ],
)
def test_what_cannot_be_loaded_names_its_package(site: Path, source: str, said: str) -> None:
    offer(site, "paints", source, red="paints:RED")
    assert "red" in registry().names
    with pytest.raises(ConfigError) as raised:
        registry()["red"]
    told = str(raised.value)
    assert told.startswith("colour red of paints 1.0 cannot be loaded: ")
    assert said in told
    assert "\n" not in told


def test_an_object_of_another_type_is_refused(site: Path) -> None:
    offer(site, "paints", "RED = {}", red="paints:RED")
    with pytest.raises(
        ConfigError, match=r"^colour red of paints 1.0: paints:RED must be a builtins:float, found dict$"
    ):
        registry()["red"]


def test_an_object_of_another_name_is_refused(site: Path) -> None:
    offer(site, "paints", "from fractions import Fraction\nRED = Fraction(1, 3)", red="paints:RED")
    asked: Registry[object] = Registry("colour", group=GROUP, type_="fractions:Fraction", own={}, called="denominator")
    with pytest.raises(ConfigError, match=r"^colour red of paints 1\.0: paints:RED calls itself 3; both must be one$"):
        asked["red"]


def test_a_name_of_ours_is_not_taken_by_others(site: Path) -> None:
    offer(site, "paints", "HALF = 0.6", half="paints:HALF")
    assert registry().names == ("third", "half")
    with pytest.raises(
        ConfigError, match=r"^colour half is ours, and paints 1.0 brings another of that name; uninstall"
    ):
        registry()["half"]
    registry().find("third")


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    offer(site, "paints", "RED = 0.1", red="paints:RED")
    offer(site, "inks", "RED = 0.2", red="inks:RED")
    assert registry().names == ("third", "half")
    with pytest.raises(ConfigError, match=r"^colour red is brought by inks 1.0 and paints 1.0; uninstall all but one"):
        registry()["red"]


def test_the_root_of_a_module_is_found_without_importing_it(site: Path) -> None:
    (site / "deep").mkdir()
    (site / "deep" / "__init__.py").write_text("1 / 0")
    (site / "flat.py").write_text("1 / 0")
    assert root_of("deep.inside.x") == root_of("flat") == site.resolve()
    for built_in in ("math", "no_such_module_anywhere"):
        with pytest.raises(ConfigError, match=f"{built_in} is not installed as Python source"):
            root_of(built_in)
