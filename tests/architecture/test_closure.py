"""The import closure: what DVC is told about the code of a stage."""

from pathlib import Path

from secateur.workflow.closure import closure


def _write(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_follows_imports_to_the_end(tmp_path: Path) -> None:
    _write(tmp_path, "secateur/tasks/__init__.py")
    _write(tmp_path, "secateur/tasks/clean.py", "import os\nfrom secateur.data import rules\n")
    _write(tmp_path, "secateur/__init__.py")
    _write(tmp_path, "secateur/data/__init__.py")
    _write(tmp_path, "secateur/data/rules.py", "def f():\n    from secateur.text import fold\n")
    _write(tmp_path, "secateur/text.py", "import secateur.deep.x\n")
    _write(tmp_path, "secateur/deep/__init__.py")
    _write(tmp_path, "secateur/deep/x.py")
    _write(tmp_path, "secateur/unused.py")
    assert closure(tmp_path, "secateur.tasks.clean") == (
        "secateur/__init__.py",
        "secateur/data/__init__.py",
        "secateur/data/rules.py",
        "secateur/deep/__init__.py",
        "secateur/deep/x.py",
        "secateur/tasks/__init__.py",
        "secateur/tasks/clean.py",
        "secateur/text.py",
    )


def test_leaves_out_imports_for_type_checkers_and_takes_resources(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "secateur/tasks/report.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import secateur.types\n"
        "else:\n    import secateur.page.html\n",
    )
    _write(tmp_path, "secateur/types.py")
    _write(tmp_path, "secateur/page/html.py")
    _write(tmp_path, "secateur/page/page.html.j2")
    assert closure(tmp_path, "secateur.tasks.report") == (
        "secateur/page/html.py",
        "secateur/page/page.html.j2",
        "secateur/tasks/report.py",
    )


def test_survives_a_cycle(tmp_path: Path) -> None:
    _write(tmp_path, "secateur/tasks/a.py", "import secateur.tasks.b")
    _write(tmp_path, "secateur/tasks/b.py", "import secateur.tasks.a")
    assert closure(tmp_path, "secateur.tasks.a") == ("secateur/tasks/a.py", "secateur/tasks/b.py")
