"""The process that listens: the port is claimed first, the model loaded, and only then is anybody let in."""

import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.config.serve import ServeSection
from secateur.errors import ConfigError, SecateurError
from secateur.serving.tls import Certificates
from secateur.workflow.project import Project

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from secateur.serving.figures import Figures
    from secateur.serving.guard import Guarded
    from secateur.serving.live.traffic import Traffic
    from secateur.serving.served import Served

_log = logging.getLogger(__name__)

_VARIABLE = "SECATEUR_SERVE"
_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""Longer than load balancers and clients keep an idle connection, so that it is they who end it."""

_START_S = 60
"""A process that imports torch on a busy machine does not answer its parent for longer than uvicorn's 5 s."""


@dataclass(frozen=True)
class Listening:
    """Where the server answers, and with what."""

    url: str
    model: str
    runtime: str


def serve(
    project: Project | None, reference: str, settings: ServeSection, *, announce: Callable[[Listening], None]
) -> None:
    """Answer requests until SIGTERM or SIGINT; open ones are finished first.

    Args:
        project: whose registry is asked; None outside a project.
        reference: a folder or ``models:/name@alias``, which is followed.
        settings: where to listen, limits.
        announce: called once, when the first request would be answered.

    Raises:
        CheckFailed: a file of the model differs from its digest.
        ConfigError: the address cannot be listened on.
        ModelError: there is no such model, or it does not load.
    """
    import uvicorn

    require_watchable(project, settings)
    certificates = certificates_of(project, settings)
    listener = _claim(settings)
    try:
        _prepare_process(settings)
        first = _app(project, reference, settings)
        try:
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _refusal(settings, error) from error
        model = first.state.models.current.source
        announce(Listening(_url(listener, settings), model=model.label, runtime=model.runtime))
        # uvicorn raises the signal again when it has drained; the process should end with 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        if settings.workers == 1:
            uvicorn.Server(configuration_of(settings, first, certificates)).run(sockets=[listener])
        else:
            del first
            _serve_by_several(project, reference, settings, listener, certificates)
    finally:
        listener.close()


def app_of_worker() -> "FastAPI":
    """Make the application of one of several processes, from what the first one left in the environment."""
    asked = json.loads(os.environ[_VARIABLE])
    settings = ServeSection.model_validate(asked["settings"])
    _prepare_process(settings)
    project = None if asked["project"] is None else Project(Path(asked["project"]))
    try:
        return _app(project, asked["reference"], settings)
    except SecateurError as error:
        # The first process loaded the model, so this one replaces a process that died. It is tried again for ever,
        # and the others go on answering; not at once, or it would take their cores.
        _log.error("a process cannot start: %s", error)
        time.sleep(settings.poll_s)
        sys.exit(SecateurError.exit_code)


def _serve_by_several(
    project: Project | None,
    reference: str,
    settings: ServeSection,
    listener: socket.socket,
    certificates: Certificates | None,
) -> None:
    from uvicorn.supervisors import Multiprocess

    from secateur.serving.figures import MULTIPROCESS_VARIABLE

    asked = {
        "project": None if project is None else str(project.root),
        "reference": reference,
        "settings": settings.model_dump(mode="json"),
    }
    with tempfile.TemporaryDirectory() as figures:
        os.environ[_VARIABLE] = json.dumps(asked)
        os.environ[MULTIPROCESS_VARIABLE] = figures
        configuration = configuration_of(settings, "secateur.serving.server:app_of_worker", certificates)
        Multiprocess(configuration, sockets=[listener]).run()


def configuration_of(
    settings: ServeSection, app: "FastAPI | str", certificates: Certificates | None
) -> "uvicorn.Config":
    """Return how uvicorn serves an application, or what makes one in every process."""
    import uvicorn

    from secateur.serving.connections import Connections, make_room

    room = make_room(settings.max_connections)
    protocol: Any = Connections(room.connections, settings.header_timeout_s)
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=settings.workers,
        http=protocol,
        ws="none",
        backlog=room.backlog,
        ssl_context_factory=certificates,
        loop="auto" if certificates is None else "secateur.serving.tls:HandshakeLoop",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_s,
        timeout_worker_healthcheck=_START_S,
    )


def _app(project: Project | None, reference: str, settings: ServeSection) -> "FastAPI":
    from secateur.serving.app import create_app
    from secateur.serving.figures import Figures
    from secateur.serving.following import Models
    from secateur.serving.served import load

    guarded = guarded_by(settings, root=Path() if project is None else project.root)
    figures = Figures.make()
    first = load(project, reference, num_threads=settings.num_threads)
    watched = watched_by(project, settings, first, figures)
    models = Models(
        first,
        project=project,
        reference=reference,
        num_threads=settings.num_threads,
        figures=figures,
        watched=watched,
    )
    app = create_app(models, settings, figures, guarded=guarded, watched=watched)
    app.state.models = models
    return app


def require_watchable(project: Project | None, settings: ServeSection) -> None:
    """Refuse to watch what cannot be watched, before anything is loaded.

    Raises:
        ConfigError: there is no project to keep anything in, or there are several processes.
    """
    if not settings.live:
        if settings.shadow is not None:
            raise ConfigError(f"serve.shadow={settings.shadow} needs serve.live, which keeps what it finds; add --live")
        return
    if project is None:
        raise ConfigError("serve.live keeps reports/live.json in a project, and there is none here; serve without it")
    if settings.workers > 1:
        raise ConfigError(
            f"serve.live counts in the memory of one process; serve.workers={settings.workers} are several, ask for 1"
        )


def watched_by(
    project: Project | None, settings: ServeSection, first: "Served", figures: "Figures"
) -> "Traffic | None":
    """Return what watches the traffic, where the settings ask for it.

    Raises:
        ConfigError: the model answers nothing that can be watched.
        ProjectError: another server watches for this project, or nothing can be written in it.
    """
    if not settings.live or project is None:
        return None
    from secateur.serving.live.gauges import Gauges
    from secateur.serving.live.shadow import Shadow
    from secateur.serving.live.traffic import Traffic

    shadow = None
    if settings.shadow is not None and first.kind.route == "predict":
        threads, room = settings.num_threads, settings.shadow_queue
        shadow = Shadow(project, settings.shadow, first, num_threads=threads, max_queue=room)
    gauges = Gauges.make(figures.registry)
    size, max_ids = settings.live_window, settings.feedback_ids
    return Traffic(project, first, window=size, max_ids=max_ids, gauges=gauges, shadow=shadow)


def guarded_by(settings: ServeSection, *, root: Path) -> "Guarded":
    """Return what the settings ask of requests.

    Args:
        settings: whose files are opened.
        root: what their names are relative to.

    Raises:
        ConfigError: the tokens cannot be read, or the audit log cannot be written.
    """
    from secateur.serving.audit import Audit
    from secateur.serving.guard import Guarded
    from secateur.serving.hosts import Hosts
    from secateur.serving.tokens import Tokens

    return Guarded(
        hosts=Hosts((settings.host, *settings.allowed_hosts)),
        tokens=None if settings.tokens is None else Tokens(root / settings.tokens),
        per_s=settings.rate_per_s,
        audit=None if settings.audit_log is None else Audit(root / settings.audit_log),
    )


def certificates_of(project: Project | None, settings: ServeSection) -> Certificates | None:
    """Return the certificate to show, read once; None for plain HTTP.

    Raises:
        ConfigError: it cannot be read, or does not belong to its key.
    """
    if settings.certificate is None:
        if settings.private_key is not None:
            raise ConfigError("serve.private_key without serve.certificate: TLS needs both, or neither for plain HTTP")
        return None
    root = Path() if project is None else project.root
    key = None if settings.private_key is None else root / settings.private_key
    certificates = Certificates(root / settings.certificate, key)
    certificates.check()
    return certificates


def _prepare_process(settings: ServeSection) -> None:
    import torch

    torch.set_num_threads(settings.num_threads)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("secateur.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False


def _claim(settings: ServeSection) -> socket.socket:
    """Bind the port without opening it: a taken one is known before the model is loaded."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refusal(settings, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _refusal(settings, error) from error
    listener.set_inheritable(True)
    return listener


def _refusal(settings: ServeSection, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
        "name others by --host and --port (serve.host, serve.port; port 0 takes a free one)"
    )


def _url(listener: socket.socket, settings: ServeSection) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.certificate is None else 'https'}://{host}:{listener.getsockname()[1]}"


def _leave(_number: int, _frame: object) -> None:
    """Do nothing: the server has drained already."""
