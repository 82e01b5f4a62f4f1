"""Why a request is not answered: a status and one line, whatever the request consisted of."""

import re

from starlette.responses import JSONResponse

from secateur.serving.schema import Problem

_MAX_CHARS = 300
_QUOTED = re.compile(r"(['\"])(?:\w+:/)?/(?:(?!\1).)*/(?=(?:(?!\1)[^/])+\1)")
"""The folders of a path between quotes, which may have blanks: of ``'/home/Jane Doe/model.onnx'``."""

_FOLDERS = re.compile(r"(?:\w+:/|(?<![\w.]))/(?=\S)(?:[^\s'\";,]*/)*")
"""The folders in front of a name: of ``/srv/x/model.onnx``, ``a:/srv/x`` and of ``sqlite:////srv/mlflow.db``."""


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Say it.

        Args:
            status: of HTTP.
            detail: the line; what a request brought into it is cut to what a line holds.
            field: which part of the request is at fault.
            retry_after_s: when to come again.
            headers: others of the answer.
        """
        super().__init__(detail)
        self.status = status
        self.detail = one_line(detail)
        self.field = None if field is None else one_line(field)
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)

    def response(self) -> JSONResponse:
        """Return the answer."""
        content = Problem(detail=self.detail, field=self.field).model_dump(exclude_none=True)
        return JSONResponse(content, status_code=self.status, headers=self.headers)


def one_line(text: str) -> str:
    """Return a text as one line of printable characters that ends after 300 of them."""
    # A request may bring megabytes into a message, or what moves the cursor of who reads a log.
    shown = text[: _MAX_CHARS + 1]
    line = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return line if len(line) <= _MAX_CHARS else line[: _MAX_CHARS - 1] + "…"


def without_folders(text: str) -> str:
    """Return a message with every path cut to its last name: a client has no business with the folders of a server."""
    return _FOLDERS.sub("", _QUOTED.sub(r"\1", text))
