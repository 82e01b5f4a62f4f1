"""A process that has imported what every command imports, and becomes a command for whoever asks; see ``tests/warm``.

It is started by its path, so the code is that of the installed package, as everywhere outside the repository.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What a run has in memory at its end, by the names that bring the rest.
_LIBRARIES = (
    "torch._dynamo", "torch.distributed.tensor", "torch.onnx", "sklearn.metrics", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "scipy.stats", "pandas", "pyarrow.parquet", "pyarrow.dataset", "networkx", "ftfy", "rensa",
    "rich.console", "rich.progress", "rich.table", "matplotlib.figure", "onnx", "graphviz", "git",
    "transformers.modeling_utils", "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert", "transformers.models.auto.tokenization_auto", "ruamel.yaml",
    "dvc.cli.parser", "dvc.commands.repro", "dvc.commands.status", "dvc.repo.reproduce", "dvc.repo.status",
    "dvc.repo.checkout", "dvc.repo.commit", "dvc.repo.experiments", "dvc.repo.index", "dvc.repo.graph",
    "dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.stage", "dvc.repo.trie", "dvc.utils.strictyaml",
    "dvc.cachemgr",
    "dvc.data_cloud", "dvc.stage.cache", "dvc.dependency.param", "dvc.render.match", "dvc_data.index",
    "dvc_data.hashfile.status", "dvc_data.hashfile.db.local", "dvc_objects.fs.local", "dulwich.index",
    "mlflow.pyfunc", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.db.utils", "sqlalchemy.dialects.sqlite",
    "opentelemetry.sdk.trace", "anyio._backends._asyncio", "prefect", "prefect.cache_policies", "prefect.artifacts",
    "prefect.flow_engine", "prefect.task_engine", "prefect.utilities.visualization",
)  # fmt: skip


def main(address: str) -> dict[str, Any]:
    """Wait for commands; return in a fork, with what it is to become."""
    del sys.path[0]  # the folder of this file
    sys.modules["onnxruntime"] = None  # type: ignore[assignment]  # its thread would end a fork with an error
    for name in (*_LIBRARIES, *_code()):
        with contextlib.suppress(ImportError):  # what is not found here a command imports itself
            importlib.import_module(name)
    del sys.modules["onnxruntime"]
    # Which module is of which package, for all that is installed: a second for each command that registers something.
    importlib.import_module("mlflow.utils.requirements_utils")._init_packages_to_modules_map()
    assert threading.active_count() == 1, "a fork would lack the other threads"
    gc.collect()
    gc.freeze()  # a fork would walk through all of it, and copy its pages, whenever it collects and when it ends
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen()
    Path(f"{address}.new").rename(address)  # who waits for it can connect at once
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)  # closes with the last process of the tests
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    shutil.rmtree(Path(address).parent, ignore_errors=True)
                    os._exit(0)
                if key.fileobj is not listener:
                    _tell(waiting, key)
                elif (asked := _accept(waiting, listener)) is not None:
                    return asked


def _code() -> Iterator[str]:
    for package in ("cli", "training", "workflow"):
        folder = importlib.import_module(f"secateur.{package}")
        yield from (
            found.name
            for found in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}.")
            if not found.name.endswith("__main__")
        )


def _accept(waiting: selectors.BaseSelector, listener: socket.socket) -> dict[str, Any] | None:
    """Fork; return in the fork what it is asked for."""
    client, _ = listener.accept()
    try:
        begin, streams, *_ = socket.recv_fds(client, 1 << 16, 3)
        text = begin + b"".join(iter(lambda: client.recv(1 << 16), b""))
    except OSError:  # who asked was killed meanwhile
        client.close()
        return None
    if not text:
        client.close()
        return None
    if (child := os.fork()) == 0:
        client.close()
        listener.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        asked: dict[str, Any] = json.loads(text)
        return asked
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):
        client.sendall(f"{child}\n".encode())
    waiting.register(os.pidfd_open(child), selectors.EVENT_READ, (child, client))
    return None


def _tell(waiting: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Tell whoever asked how a fork has ended."""
    child, client = key.data
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    waiting.unregister(key.fileobj)
    os.close(key.fd)
    with contextlib.suppress(OSError):
        client.sendall(f"{code}\n".encode())
    client.close()


def become(asked: dict[str, Any]) -> None:
    """Run a module as ``python -m`` does: its environment, folder, arguments, and chance of its own."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    path = [asked["first"], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [folder for folder in path if folder]
    sys.argv[1:] = asked["arguments"]
    sys.executable = os.environ.get("TESTS_WARM_PYTHON", sys.executable)  # and of the stages that DVC starts from here
    random.seed()
    sys.modules["numpy"].random.seed()
    if asked["module"] == "-c":
        exec(asked["arguments"][0], {"__name__": "__main__"})
        return
    sys.modules["secateur.extensions"].forget()  # what is installed here, perhaps not there
    sys.modules["prefect.context"].refresh_global_settings_context()  # read from the environment when it was imported
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def end(code: object) -> None:
    """End as the interpreter does, but for taking to pieces what the libraries made: half a second for each fork."""
    if not (code is None or isinstance(code, int)):
        return  # a text, which the interpreter prints
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    asked = main(sys.argv[1])
    try:
        become(asked)
    except SystemExit as ended:
        end(ended.code)
        raise
    end(0)
