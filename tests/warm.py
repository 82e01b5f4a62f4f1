"""Commands as forks of a process that has imported libraries and code: ten seconds of imports less for each.

The same module, arguments, folder, environment, streams and exit code as of ``python -P -m``. What a fork cannot show
(the first import, kill -9 of a group, its own seed of hashes) is shown by tests that start processes; with COLD=1 in
the environment every command is one.

DVC starts ``secateur stage`` by its name, so a command of that name, which asks here too, is the first on PATH. And
what proves that a model loads starts a Python of its own, which a fork takes for another that asks. This file is both:
it imports the standard library alone. A fork has none of that Python's flags: what is planted for it is shown by tests
that ask in their own process (``test_planted_files``), and so by the real one.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POSSIBLE = sys.platform == "linux" and not os.environ.get("COLD")
_FRESH = ("secateur.models.reload_check", "secateur.workflow.dvc_repro", "secateur.workflow.rank")
_PYTHON = "TESTS_WARM_PYTHON"
_ADDRESS = "TESTS_WARM_ADDRESS"


def run(
    module: str, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], errors: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Do what ``subprocess.run([sys.executable, "-P", "-m", module, *arguments])`` does, with the output as text.

    Args:
        module: see ``ask``.
        arguments: see ``ask``.
        cwd: see ``ask``.
        env: see ``ask``.
        errors: a file descriptor for what goes to standard error, which is then not returned.
    """
    folder = _started()
    path = f"{folder}{os.pathsep}{env['PATH']}"
    own = {"PATH": path, _ADDRESS: str(folder / "socket"), _PYTHON: str(folder / "python")}
    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = [nothing.fileno(), out.fileno(), err.fileno() if errors is None else errors]
        code = ask(module, arguments, cwd=str(cwd), env={**env, **own}, streams=streams)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess([module, *arguments], code, out.read().decode(), err.read().decode())


def ask(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    streams: Sequence[int],
    first: str | None = None,
    address: str | None = None,
) -> int:
    """Have a fork run a module, and return its exit code.

    Args:
        module: with a ``__main__``; ``-c`` for code, which is then the only argument.
        arguments: of its command line.
        cwd: where it runs.
        env: its whole environment.
        streams: file descriptors of its input, output and errors.
        first: of the folders to import from, where there is another than of the process that forks.
        address: of the process that forks, where ``env`` does not tell.
    """
    asked = {"module": module, "arguments": arguments, "folder": cwd, "first": first, "environment": dict(env)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address or env[_ADDRESS])
        socket.send_fds(server, [b" "], streams)
        server.sendall(json.dumps(asked).encode())
        server.shutdown(socket.SHUT_WR)
        with server.makefile() as told:
            child = int(told.readline())
            try:
                return int(told.readline())
            except BaseException:  # the test's time is over
                os.kill(child, 9)
                raise


@functools.cache
def _started() -> Path:
    """Return the folder of the socket of the process that forks, which the first worker starts."""
    from tests.shared import once

    return Path(once("warm", _start))


def python() -> str:
    """Return what stands for ``sys.executable`` where a test's own process starts those that prove a model."""
    return str(_started() / "python") if POSSIBLE else sys.executable


def _start(_: Path) -> str:
    from secateur.processes.environment import ENVIRONMENT
    from tests.shared import held

    folder = Path(tempfile.mkdtemp(prefix="warm-"))  # it goes with the process; the path of a socket must be short
    command = folder / "secateur"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" --python "{folder / "socket"}" "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    with open(held(), "rb") as pipe:  # noqa: PTH123  # a descriptor
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(folder / "socket")],
            env={**ENVIRONMENT, **os.environ},
            stdin=pipe,  # it ends when this does
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    while not (folder / "socket").exists():
        assert server.poll() is None, "the process that forks has ended"
        time.sleep(0.02)
    return str(folder)


def _as_python(address: str, arguments: list[str]) -> int:
    """Become what proves that a model loads, in a fork; whatever else is asked for, the real Python does."""
    match arguments:
        case [
            "-P",
            "-m",
            "secateur.models.reload_check"
            | "secateur.workflow.dvc_repro"
            | "secateur.workflow.rank"
            | "secateur.workers.shard"
            | "secateur.workers.stage"
            | "secateur.workers.sweep" as module,
            *rest,
        ]:
            asked = module
        case ["-P", "-m", "secateur.cli" as module, "stage", *_] if not os.environ.get("PYTHONPATH"):
            asked, rest = module, arguments[3:]  # a rebuild by the installed code
        case ["-I", "-B", "-c", code] if "secateur.registry.fresh_process" in code:
            asked, rest = "-c", [code]
        case _:
            os.execv(sys.executable, [sys.executable, *arguments])
    env = {**os.environ, _PYTHON: str(Path(address).with_name("python"))}  # for what it starts itself
    return ask(asked, rest, cwd=str(Path.cwd()), env=env, streams=[0, 1, 2], address=address)


def _as_command(arguments: list[str]) -> int:
    installed = str(Path(sys.executable).parent)  # where the installed command lies
    return ask("secateur.cli", arguments, cwd=str(Path.cwd()), first=installed, env=os.environ, streams=[0, 1, 2])


if __name__ == "__main__":
    ended = _as_python(sys.argv[2], sys.argv[3:]) if sys.argv[1:2] == ["--python"] else _as_command(sys.argv[1:])
    if ended < 0:
        os.kill(os.getpid(), -ended)
    sys.exit(ended)
