"""The reference of ``secateur`` as a Python package: what ``__all__`` names, from its docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import secateur

_ORDER = ("prune", "load", "save", "export", "sentence_transformer", "in_transformers", "bench", "latency_table")
_SECTIONS = {"Args": "argument", "Attributes": "attribute", "Returns": None, "Raises": "raises", "Yields": None}
_ENTRY = re.compile(r"(?P<names>[A-Za-z_][\w, ]*): (?P<text>.*)", re.DOTALL)


def python_reference() -> str:
    """One section per public name: its signature, and its docstring with arguments as a table."""
    return "\n".join(_described(name) for name in _names())


def _names() -> list[str]:
    """Functions first, then what they return, then errors from the base on."""
    others = [name for name in secateur.__all__ if name not in _ORDER and not name.startswith("__")]
    errors = [name for name in others if issubclass(getattr(secateur, name), secateur.SecateurError)]
    results = [name for name in others if name not in errors]
    return [*_ORDER, *results, "SecateurError", *(name for name in errors if name != "SecateurError")]


def _described(name: str) -> str:
    found = getattr(secateur, name)
    lines = [f"## {name}\n"]
    if inspect.isfunction(found):
        lines.append(f"```python\n{_signature(f'secateur.{name}', found)}\n```\n")
    elif issubclass(found, Exception):
        lines.append(f"Is a `{found.__bases__[0].__name__}`.\n")
    lines += _sections(inspect.getdoc(found) or "")
    if not inspect.isfunction(found) and not issubclass(found, Exception):
        lines += [*_methods(found), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _signature(name: str, function: Any) -> str:
    """Return a call with names and defaults: types stand in the code."""
    parts: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}"
        stars = "**" if parameter.kind is inspect.Parameter.VAR_KEYWORD else ""
        parts.append(f"{stars}{parameter.name}{default}")
    inside = ", ".join(parts)
    return f"{name}({inside})" if len(inside) < 90 else f"{name}(\n    " + ",\n    ".join(parts) + ",\n)"


def _methods(kind: type) -> Iterator[str]:
    """Describe the public methods and properties in a line each."""
    for name, member in vars(kind).items():
        of = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(of):
            continue
        call = name if isinstance(member, property) else _signature(name, of)
        first = " ".join((inspect.getdoc(of) or "").split("\n\n")[0].split())
        yield f"* `{call}`: {_inline(first)}"


def _sections(text: str) -> Iterator[str]:
    """Turn a docstring into paragraphs and tables."""
    for block in text.split("\n\n"):
        head, _, rest = block.partition("\n")
        title = head.rstrip(":")
        if not head.endswith(":") or title not in _SECTIONS:
            yield _inline(block) + "\n"
        elif _SECTIONS[title] is None:
            yield f"**{title}**: {_inline(' '.join(rest.split()))}\n"
        else:
            yield "\n".join([f"| {_SECTIONS[title]} | |", "|---|---|", *_rows(inspect.cleandoc(rest))]) + "\n"


def _rows(body: str) -> Iterator[str]:
    """Yield one row per entry; what is indented continues it."""
    for entry in re.split(r"\n(?=\S)", body):
        found = _ENTRY.fullmatch(" ".join(entry.split()))
        assert found is not None, f"a docstring has an entry without a name: {entry}"
        yield f"| `{found['names']}` | {_inline(found['text'])} |"


def _inline(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
