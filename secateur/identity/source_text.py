"""What a Python source does, as text: without comments and docstrings, which never change a result."""

import ast
import io
import tokenize
from collections.abc import Iterator

_Span = tuple[int, int, int, int]
_STARTS = {"STRING", "FSTRING_START", "TSTRING_START"}
_ENDS = {"STRING", "FSTRING_END", "TSTRING_END"}


def essential(source: str) -> str:
    """Return a source without comments, docstrings and the blank lines between statements.

    What is left stands as it was written, so that every version of Python makes the same text of it. A string that
    is a statement does nothing, wherever it stands; it counts as a docstring.

    Raises:
        SyntaxError: it is no Python.
    """
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    inside = _inside_strings(tokens)
    for first, start, last, end in sorted([*_docstrings(source, lines), *_comments(tokens)], reverse=True):
        kept = lines[first - 1][:start] + lines[last - 1][end:]
        lines[first - 1 : last] = [kept, *[""] * (last - first)]
        inside -= set(range(first, last + 1))
    shown = (line if number in inside else line.rstrip() + "\n" for number, line in enumerate(lines, start=1))
    return "".join(line for number, line in enumerate(shown, start=1) if number in inside or line.strip())


def _docstrings(source: str, lines: list[str]) -> Iterator[_Span]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            last, end = node.end_lineno or node.lineno, node.end_col_offset or 0
            yield (
                node.lineno,
                _column(lines[node.lineno - 1], node.col_offset),
                last,
                _column(lines[last - 1], end),
            )


def _column(line: str, offset: int) -> int:
    """Return the place of a byte of a line among its characters."""
    return len(line.encode()[:offset].decode())


def _comments(tokens: list[tokenize.TokenInfo]) -> Iterator[_Span]:
    for token in tokens:
        if token.type == tokenize.COMMENT:
            yield (*token.start, *token.end)


def _inside_strings(tokens: list[tokenize.TokenInfo]) -> set[int]:
    """Return the numbers of the lines whose end lies inside a string, where white space counts."""
    inside: set[int] = set()
    open_at: list[int] = []
    for token in tokens:
        name = tokenize.tok_name[token.type]
        if name in _STARTS:
            open_at.append(token.start[0])
        if name in _ENDS:
            inside.update(range(open_at.pop(), token.end[0]))
    return inside
