"""The full form of a project: ``flows/`` and ``tasks/``, its own or those that the package carries.

A folder is a project's own when its ``__init__.py`` says ``FORM_OF = "secateur"``. Another folder or file of that name
is somebody else's, and nobody looks into it. Modules are found by where they lie, under names that nothing else
can have: no folder of a project is ever on the import path.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

import secateur
from secateur.errors import ProjectError, SecateurError

Kind = Literal["flows", "tasks"]
KINDS: tuple[Kind, ...] = ("flows", "tasks")

PACKAGE = Path(str(secateur.__file__)).resolve().parent
_MARK = 'FORM_OF = "secateur"'
_PREFIX = "secateur.form_"
"""Under ``secateur``, so that what a flow logs is told like everything else."""


def is_own(root: Path, kind: Kind) -> bool:
    """Tell whether a project has a folder of its own flows or stages."""
    first = root / kind / "__init__.py"
    return first.is_file() and any(line.rstrip() == _MARK for line in first.read_text("utf-8", "replace").splitlines())


def folder_of(root: Path, kind: Kind) -> Path:
    """Return the folder that counts in a project."""
    return (root if is_own(root, kind) else carrier()) / kind


def carrier() -> Path:
    """Return the folder of ``flows/`` and ``tasks/`` of the package: inside it, or in its repository beside it."""
    return PACKAGE if (PACKAGE / "tasks").is_dir() else PACKAGE.parent


def names_in(root: Path, kind: Kind) -> Sequence[str]:
    """Return the modules of a folder; those whose names begin with an underscore help the others."""
    return sorted(file.stem for file in folder_of(root, kind).glob("*.py") if not file.stem.startswith("_"))


def module_of(root: Path, kind: Kind, name: str) -> ModuleType:
    """Return a module of the project or of the package, as it was when this process first asked for it.

    Raises:
        ProjectError: it cannot be loaded.
    """
    folder = folder_of(root, kind)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    form = _PREFIX + sha256(str(folder.parent.resolve()).encode()).hexdigest()[:8]
    if form not in sys.modules:
        sys.modules[form] = ModuleType(form)
        sys.modules[form].__path__ = [str(folder.parent)]
    try:
        return importlib.import_module(f"{form}.{kind}.{name}")
    except SecateurError:
        raise
    except Exception as error:  # whatever somebody's own code may raise
        if not is_own(root, kind):
            raise
        said = " ".join(f"{folder / f'{name}.py'} cannot be loaded: {type(error).__name__}: {error}".split())
        if isinstance(error, ModuleNotFoundError):
            said += "; what lies beside it begins with a dot (from ._rules import x)"
        raise ProjectError(said) from error


def function_of(root: Path, kind: Kind, name: str, function: str) -> Callable[..., Any]:
    """Return a function that other modules call by its name.

    Raises:
        ProjectError: the module cannot be loaded, or has no such function.
    """
    found: Callable[..., Any] | None = getattr(module_of(root, kind, name), function, None)
    if not callable(found):
        raise ProjectError(
            f"{folder_of(root, kind) / f'{name}.py'} has no function {function}(); `secateur init --full` in an empty "
            "folder writes one that has"
        )
    return found


class _AsWritten(SourceFileLoader):
    """Compiles what is there: bytecode is told apart by size and second, which an edit can keep."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _Finder(MetaPathFinder):
    """Finds ``flows`` and ``tasks`` of a form, and what lies in them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PREFIX) or not path or fullname.split(".")[2] not in KINDS:
            return None
        return FileFinder(path[0], (_AsWritten, [".py"])).find_spec(fullname)
