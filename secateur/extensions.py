"""What can be added without a fork: criteria, regularisers, families, kinds. Ours by a table, others by entry point.

Both name an object as entry points do, ``package.module:OBJECT``, and neither is imported before somebody asks for it:
help and schema stay quick, and the code of a stage holds what its project chooses and no other.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from secateur.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Extension:
    """One object that a package brings.

    Attributes:
        name: that a user types.
        address: ``package.module:OBJECT``.
        package: name and version of the distribution; None for ours.
    """

    name: str
    address: str
    package: str | None = None

    @property
    def module(self) -> str:
        """The module that holds the object."""
        return self.address.partition(":")[0]

    def load(self) -> Any:
        """Import the object; whatever its module raises comes through."""
        found: Any = importlib.import_module(self.module)
        for part in self.address.partition(":")[2].split("."):
            found = getattr(found, part)
        return found


class Registry(Generic[T]):
    """Objects of one type by the names that users type."""

    def __init__(
        self, what: str, *, group: str, type_: str, own: Mapping[str, str], called: str | None = "name"
    ) -> None:
        """Describe what can be registered.

        Args:
            what: one of them, in a message.
            group: of the entry points of other packages.
            type_: what every object is an instance of, as ``module:CLASS``.
            own: name -> address of ours, in the order in which they are shown.
            called: the attribute that must be the name; None asks for none.
        """
        self._called = called
        self._what, self._group, self._type = what, group, Extension(what, type_)
        self._own = {name: Extension(name, address) for name, address in own.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Ours, then those of other packages that can be chosen; nothing is imported."""
        return (
            *self._own,
            *sorted(name for name, found in self._foreign().items() if len(found) == 1 and name not in self._own),
        )

    def __iter__(self) -> Iterator[str]:
        """Iterate over ``names``."""
        return iter(self.names)

    def __getitem__(self, name: str) -> T:
        """Return an object.

        Raises:
            ConfigError: as ``find``; or another package's object cannot be loaded or is none of these.
        """
        found = self.find(name)
        if found.package is None:
            return cast(T, found.load())
        try:
            loaded = found.load()
        except Exception as error:  # code of others may raise anything
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"{self._what} {name} of {found.package} cannot be loaded: {said}; "
                "another version of that package may work, or uninstall it"
            ) from error
        if not isinstance(loaded, self._type.load()):
            raise ConfigError(
                f"{self._what} {name} of {found.package}: {found.address} must be a {self._type.address}, "
                f"found {type(loaded).__name__}"
            )
        if self._called and (own_name := getattr(loaded, self._called)) != name:
            raise ConfigError(
                f"{self._what} {name} of {found.package}: {found.address} calls itself {own_name}; both must be one"
            )
        return cast(T, loaded)

    def find(self, name: str) -> Extension:
        """Return where an object comes from, and import nothing.

        Raises:
            ConfigError: there is none of this name, with what was meant; or more than one.
        """
        own, others = self._own.get(name), self._foreign().get(name, ())
        if own is not None and others:
            raise ConfigError(
                f"{self._what} {name} is ours, and {_packages(others)} brings another of that name; "
                "uninstall that package, or ask for a version of it with a name of its own"
            )
        if len(others) > 1:
            raise ConfigError(f"{self._what} {name} is brought by {_packages(others)}; uninstall all but one of them")
        if own is None and not others:
            meant = get_close_matches(name, self.names, n=1)
            question = f"did you mean {meant[0]}? " if meant else ""
            raise ConfigError(f"{name!r} is no {self._what}; {question}known: {', '.join(self.names) or 'none'}")
        return own or others[0]

    def _foreign(self) -> Mapping[str, tuple[Extension, ...]]:
        return _installed().get(self._group, {})


def root_of(module: str) -> Path:
    """Return the folder that holds the top-level package or file of a module, and import nothing.

    Raises:
        ConfigError: it is not installed as Python source, so that no identity could cover it.
    """
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve().parent
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"the code of {module} cannot be part of a stage's identity: {top} is not installed as Python source"
        )
    return Path(spec.origin).resolve().parent


def forget() -> None:
    """Look at the installed packages anew."""
    _installed.cache_clear()


@cache
def _installed() -> Mapping[str, Mapping[str, tuple[Extension, ...]]]:
    """Return group -> name -> entry points: a process that lives for long goes by the packages it has started with."""
    from importlib.metadata import distributions

    found: dict[str, dict[str, tuple[Extension, ...]]] = {}
    seen: set[str] = set()
    for package in distributions():
        # Most packages have nothing for us: to look at the text alone takes a third of the time of parsing it.
        if "[secateur." not in (package.read_text("entry_points.txt") or "") or package.name in seen:
            continue
        seen.add(package.name)  # in a later folder it is hidden by this one
        for entry in package.entry_points:
            extension = Extension(entry.name, entry.value.partition(" ")[0], f"{package.name} {package.version}")
            of_group = found.setdefault(entry.group, {})
            of_group[entry.name] = (*of_group.get(entry.name, ()), extension)
    return found


def _packages(found: tuple[Extension, ...]) -> str:
    return " and ".join(sorted(str(extension.package) for extension in found))
