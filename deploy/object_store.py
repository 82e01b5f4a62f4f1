"""An S3 server for one machine: moto's, which keeps objects in memory, and a folder in which they outlive it.

Run as ``python -m deploy.object_store PORT FOLDER``. It checks no signatures, so it is for the loopback interface only.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deploy.processes import HOST

_END = "%"  # no quoted name ends so: the object ``a`` and the folder of ``a/b`` can lie beside each other


class KeptObjects:
    """A WSGI application around moto's: what a request has changed is on disk before it is answered."""

    def __init__(self, application: Callable[..., Iterable[bytes]], folder: Path) -> None:
        """Load what the folder holds into moto's memory."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        self._application, self._folder, self._lock = application, folder, threading.Lock()
        self._backend: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for bucket in sorted(entry for entry in folder.glob("*") if entry.is_dir()):
            self._backend.create_bucket(bucket.name, "us-east-1")
            for file in bucket.rglob(f"*{_END}"):
                key = "/".join(unquote(part) for part in file.relative_to(bucket).parts).removesuffix(_END)
                self._backend.put_object(bucket.name, key, file.read_bytes())

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._application(environ, start_response)
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            bucket, _, key = environ["PATH_INFO"].lstrip("/").encode("latin-1").decode("utf-8").partition("/")
            with self._lock:
                self._keep(bucket, key)
        return answer

    def _keep(self, bucket: str, key: str) -> None:
        """Bring the folder of a bucket, or the file of one object, up to date."""
        known = self._backend.buckets.get(bucket)
        if known is None:
            return  # a request that named none
        folder = self._folder / bucket
        folder.mkdir(parents=True, exist_ok=True)
        if key:
            _keep_object(self._file(folder, key), known.keys.get(key))
            return
        present = {self._file(folder, name) for name in known.keys}
        for file in folder.rglob(f"*{_END}"):
            if file not in present:  # several objects were deleted by one request
                file.unlink()

    def _file(self, folder: Path, key: str) -> Path:
        *parents, name = (quote(part, safe="").replace(".", "%2E") for part in key.split("/"))
        return folder.joinpath(*parents, name + _END)


def _keep_object(file: Path, found: Any) -> None:
    if found is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + "new")
    fresh.write_bytes(found.value)
    fresh.replace(file)


def serve(port: int, folder: Path) -> None:
    """Answer on the loopback interface until a signal ends the process."""
    from moto.server import create_backend_app
    from werkzeug.serving import run_simple

    folder.mkdir(parents=True, exist_ok=True)
    # One service: nothing else that moto could pretend to be is there.
    run_simple(HOST, port, KeptObjects(create_backend_app("s3"), folder), threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
