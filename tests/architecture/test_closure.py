"""The code of a stage: which files it uses, and what of them counts."""

import io
import tokenize
from pathlib import Path

import pytest

import secateur
from secateur.identity.closure import closure, digest_of
from secateur.identity.kind_code import with_kind
from secateur.identity.source_text import essential
from secateur.identity.sources import Sources


def _write(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _closure(root: Path, module: str) -> list[str]:
    return list(closure(module, roots={"pack": root}, sources=Sources()))


def test_follows_imports_to_the_end(tmp_path: Path) -> None:
    _write(tmp_path, "pack/tasks/__init__.py")
    _write(tmp_path, "pack/tasks/clean.py", "import os\nfrom pack.data import rules\n")
    _write(tmp_path, "pack/__init__.py")
    _write(tmp_path, "pack/data/__init__.py")
    _write(tmp_path, "pack/data/rules.py", "def f():\n    from pack.text import fold\n")
    _write(tmp_path, "pack/text.py", "import pack.deep.x\n")
    _write(tmp_path, "pack/deep/__init__.py")
    _write(tmp_path, "pack/deep/x.py")
    _write(tmp_path, "pack/unused.py")
    assert _closure(tmp_path, "pack.tasks.clean") == [
        "pack/__init__.py",
        "pack/data/__init__.py",
        "pack/data/rules.py",
        "pack/deep/__init__.py",
        "pack/deep/x.py",
        "pack/tasks/__init__.py",
        "pack/tasks/clean.py",
        "pack/text.py",
    ]


@pytest.mark.parametrize(
    "imported", ["from . import c", "from .c import x", "from ..a.c import x", "from ..a import c"]
)
def test_follows_relative_imports(tmp_path: Path, imported: str) -> None:
    _write(tmp_path, "pack/a/__init__.py")
    _write(tmp_path, "pack/a/b.py", imported)
    _write(tmp_path, "pack/a/c.py", "x = 1")
    assert _closure(tmp_path, "pack.a.b") == ["pack/a/__init__.py", "pack/a/b.py", "pack/a/c.py"]


def test_a_relative_import_of_a_package_starts_in_it(tmp_path: Path) -> None:
    _write(tmp_path, "pack/a/__init__.py", "from .c import x")
    _write(tmp_path, "pack/a/c.py")
    assert _closure(tmp_path, "pack.a") == ["pack/a/__init__.py", "pack/a/c.py"]


def test_leaves_out_imports_for_type_checkers_and_takes_resources(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "pack/tasks/report.py",
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pack.types\nelse:\n    import pack.page.html\n",
    )
    _write(tmp_path, "pack/types.py")
    _write(tmp_path, "pack/page/html.py")
    _write(tmp_path, "pack/page/page.html.j2")
    assert _closure(tmp_path, "pack.tasks.report") == [
        "pack/page/html.py",
        "pack/page/page.html.j2",
        "pack/tasks/report.py",
    ]


def test_survives_a_cycle(tmp_path: Path) -> None:
    _write(tmp_path, "pack/tasks/a.py", "import pack.tasks.b")
    _write(tmp_path, "pack/tasks/b.py", "import pack.tasks.a")
    assert _closure(tmp_path, "pack.tasks.a") == ["pack/tasks/a.py", "pack/tasks/b.py"]


def test_what_parameters_choose_may_lie_in_a_package_of_its_own(tmp_path: Path) -> None:
    _write(tmp_path / "ours", "pack/tasks/a.py", "import pack.b, theirs\n")
    _write(tmp_path / "ours", "pack/b.py")
    _write(tmp_path / "site", "theirs.py", "import os, others\nfrom pack import c\n")
    _write(tmp_path / "ours", "pack/c.py")
    _write(tmp_path / "site", "others.py")
    roots = {"pack": tmp_path / "ours", "theirs": tmp_path / "site"}
    assert list(closure("pack.tasks.a", "theirs", roots=roots, sources=Sources())) == [
        "pack/b.py",
        "pack/c.py",
        "pack/tasks/a.py",
        "theirs.py",
    ]


_SOURCE = '''"""What it does."""

import os  # for paths

RATE = 0.1
"""Per step."""


def f(x: int) -> str:
    """Do it."""
    # first this
    text = """a

    b  # no comment
    """
    return f"{x:>3}" + text
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""What it does."""', '"""What it does, and\nwhy."""'),
        ("  # for paths", ""),
        ('"""Per step."""\n', ""),
        ('    """Do it."""\n', '    """Do it.\n\n    Well.\n    """\n'),
        ("    # first this\n", "\n\n    # first é, then that\n"),
        ("\n\n\ndef f", "\n\ndef f"),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(before: str, after: str) -> None:
    assert before in _SOURCE
    assert essential(_SOURCE.replace(before, after)) == essential(_SOURCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0.1", "0.2"),
        ("a\n\n    b", "a\n    b"),
        ("a\n\n", "a \n\n"),
        ("# no comment", "# another"),
        (">3", ">4"),
        ("import os", "import os, re"),
        ("    return f", "    if x:\n        return f"),
    ],
)
def test_everything_else_counts(before: str, after: str) -> None:
    assert before in _SOURCE
    assert essential(_SOURCE.replace(before, after)) != essential(_SOURCE)


def _significant(source: str) -> str:
    """Return the text of all tokens but comments and strings that are statements, without white space."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
    ]
    kept = []
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        begins = before is None or before.type == tokenize.NEWLINE
        ends = after is not None and after.type == tokenize.NEWLINE
        if not (token.type == tokenize.STRING and begins and ends):
            kept.append("".join(token.string.split()))
    return "".join(kept)


def test_of_every_source_of_ours_all_else_is_left() -> None:
    for file in sorted(Path(str(secateur.__file__)).parent.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        left = "".join(essential(source).replace("\\\n", "\n").split())
        assert left == _significant(source.replace("\\\n", "\n")), file


def test_a_digest_names_files_and_what_they_do(tmp_path: Path) -> None:
    file = _write(tmp_path, "pack/a.py", "x = 1\n")
    before = digest_of({"pack/a.py": file}, Sources())
    file.write_text("x = 1  # one\n")
    assert digest_of({"pack/a.py": file}, Sources()) == before
    assert digest_of({"pack/b.py": file}, Sources()) != before
    file.write_text("x = 2\n")
    assert digest_of({"pack/a.py": file}, Sources()) != before


def test_what_was_looked_at_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "pack/__init__.py")
    _write(tmp_path, "pack/a.py", "import pack.b\n")
    _write(tmp_path, "pack/b.py")
    first = Sources()
    files = closure("pack.a", roots={"pack": tmp_path}, sources=first)
    assert not first.complete
    again = Sources(first.as_json())
    monkeypatch.setattr("secateur.identity.sources.essential", None)
    assert closure("pack.a", roots={"pack": tmp_path}, sources=again) == files
    assert digest_of(files, again) == digest_of(files, first)
    assert again.complete


def _with_kind(kind: str, stage: dict[str, Path], *, root: Path) -> tuple[list[str], str]:
    """Return the files of ``pack`` that a stage has which asks for a kind, and the digest of all."""
    files = {**stage, "secateur/kinds/registry.py": next(iter(stage.values()))}
    found, digest = with_kind(files, kind, roots={"pack": root}, sources=Sources())
    return [name for name in found if name.startswith("pack/")], digest


@pytest.mark.parametrize("imported", ["from pack.shared import Shared", "from .shared import Shared"])
def test_methods_that_a_kind_inherits_count_one_by_one_as_its_own_do(tmp_path: Path, imported: str) -> None:
    """A stage that asks for the loss has the code of the loss, wherever it stands, and not that of the page."""
    methods = {"loss": "import pack.heavy", "presentation": "import pack.page"}
    inherited = "class Shared:\n" + "".join(
        f"    def {name}(self):\n        {does}\n" for name, does in methods.items()
    )
    for name in ("__init__", "heavy", "page"):
        _write(tmp_path, f"pack/{name}.py")
    _write(tmp_path, "pack/own.py", f"{imported}\nclass Own(Shared):\n    def noise(self):\n        return 1\n")
    stage = _write(tmp_path, "pack/stage.py", "def run(kind):\n    return kind.loss()\n")

    def look(source: str) -> tuple[list[str], str]:
        _write(tmp_path, "pack/shared.py", source)
        return _with_kind("pack.own", {"pack/stage.py": stage}, root=tmp_path)

    files, before = look(inherited)
    assert files == [f"pack/{name}.py" for name in ("__init__", "heavy", "own", "shared", "stage")]
    assert look(inherited.replace("import pack.page", "return 2"))[1] == before
    assert look(inherited.replace("import pack.heavy", "return 2"))[1] != before
    assert look(f"{inherited}WIDTH = 2\n")[1] != before, "what stands outside of methods always counts"


@pytest.mark.parametrize("imported", ["from . import helper", "from pack import helper", "import pack.helper"])
def test_a_file_beside_a_kind_that_is_a_package_counts(tmp_path: Path, imported: str) -> None:
    _write(tmp_path, "pack/__init__.py", f"class Own:\n    def loss(self):\n        {imported}\n")
    stage = _write(tmp_path, "stage.py", "def run(kind):\n    return kind.loss()\n")

    def look(helper: str) -> tuple[list[str], str]:
        _write(tmp_path, "pack/helper.py", helper)
        return _with_kind("pack", {"stage.py": stage}, root=tmp_path)

    files, before = look("A = 1\n")
    assert files == ["pack/__init__.py", "pack/helper.py"]
    assert look("A = 2\n")[1] != before
