"""Stages of a run on an engine: what a worker needs is sent, what it made is fetched; all is recorded here alone.

Those go that train: ``baseline`` and the rounds; of ``clean`` its shards. What is timed, registered or shown stays on
this machine, where nothing else runs by then.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from secateur.config.schema import RunConfig
from secateur.engines.base import Answer, Engine, Work
from secateur.engines.of_shards import work_on
from secateur.engines.opening import opened
from secateur.engines.performing import installed
from secateur.engines.remote import config_elsewhere
from secateur.engines.scratch import CACHE
from secateur.engines.sending import Sent
from secateur.engines.setting import Setting, read_setting, require_installed
from secateur.errors import ProjectError
from secateur.files import replacing, write_json
from secateur.identity.key import Identity
from secateur.workflow.code_lock import FILE as CODE_LOCK
from secateur.workflow.code_lock import code_of, index_file
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.execution import execute
from secateur.workflow.full_form import is_own
from secateur.workflow.project import Project
from secateur.workflow.results import read_json
from secateur.workflow.stage import CONSTRAINTS, Stage
from secateur.workflow.stages import stages

RECORD = "engine.json"
"""In the project's state: where and when every stage ran last that ran on a worker."""

_SENT_ALWAYS = ("params.yaml", "dvc.yaml", CODE_LOCK, CONSTRAINTS, ".dvcignore")

logger = logging.getLogger(__name__)


def goes(stage: Stage) -> bool:
    """Tell whether a worker may run a stage."""
    return stage.trains and not stage.effects and all(output.kind != "metric" for output in stage.outputs.values())


def require_engine(project: Project, config: RunConfig) -> str:
    """Refuse an engine that cannot work, before anything is computed; return what there is, in words.

    Raises:
        ConfigError: there is no such engine, or its package is not installed.
        ProjectError: workers on other machines could not have the data, do not answer, or have another package.
    """
    setting = read_setting()
    require_installed(setting)
    if setting.kind == "local":
        return "local"
    if setting.address is None:
        return f"{setting.text}: processes on this machine, which start with a run"
    store = DvcStore(project)
    if store.remote is None and not store.has_shared_cache:
        raise ProjectError(
            f"{setting}: its workers have the data from the DVC remote, and there is none: `dvc remote add --default`"
        )
    with opened(setting, num_threads=config.run.num_threads, scratch=str(_scratch(project))) as engine:
        return f"{setting.text}: {len(engine.workers())} answer, with this secateur"


@contextmanager
def executing(project: Project, config: RunConfig) -> Iterator["Elsewhere | None"]:
    """Yield what runs stages on the engine that the environment names; None where that is this process."""
    setting = read_setting()
    if setting.kind == "local":
        yield None
        return
    require_installed(setting)
    with ExitStack() as stack:
        yield Elsewhere(project, config, setting, stack)


class Elsewhere:
    """The engine of one run; it is opened when a stage needs it first."""

    def __init__(self, project: Project, config: RunConfig, setting: Setting, stack: ExitStack) -> None:
        """Begin with nothing sent; what is opened is closed with ``stack``."""
        self._project, self._config, self._setting, self._stack = project, config, setting, stack
        self._engine: Engine | None = None
        self._sent: dict[str, Sent] = {}
        self._pushed: set[str] = set()

    def start(self, store: DvcStore, waiting: Sequence[Stage]) -> None:
        """Send off the first of the stages that wait, and those of its name that wait for none of the others."""
        first, unmade = waiting[0], set[str]()
        for stage in waiting if goes(first) else ():
            if unmade.isdisjoint(stage.inputs.values()):
                if not store.status(stage.address).changed:
                    continue
                if stage.name == first.name and not store.can_restore(stage.address):
                    key = store.identity(stage.address).key
                    self._sent[key] = self._sent.get(key) or self._send(store, stage, key)
            unmade |= {output.path for output in stage.outputs.values()}

    def execute(self, project: Project, stage: Stage, config: RunConfig, identity: Identity) -> float:
        """Do what ``execution.execute`` does, on a worker where the stage may go."""
        if not goes(stage):
            return execute(project, stage, config, identity, work=self.work)
        store = DvcStore(project)
        answer = (self._sent.pop(identity.key, None) or self._send(store, stage, identity.key)).answer()
        assert answer.said is not None  # else it was refused
        digests: Mapping[str, str] = answer.said["outputs"]
        with ExitStack() as stack:
            for output in stage.outputs.values():
                into = stack.enter_context(replacing(project.root / output.path))
                store.fetch(digests[output.path], into, what=output.path)
        self._record(stage, answer)
        return float(answer.said["seconds"])

    def _send(self, store: DvcStore, stage: Stage, key: str) -> Sent:
        read = sorted(set(stage.inputs.values()))
        return self.send(store, stage.address, "secateur.workers.stage", read=read, code=stage.name, asked={"key": key})

    def send(
        self, store: DvcStore, title: str, module: str, *, read: Sequence[str], code: str, asked: Mapping[str, Any]
    ) -> Sent:
        """Send off what a module of ``secateur.workers`` does.

        Args:
            store: of the project.
            title: in messages.
            module: its name.
            read: paths of what it reads; what DVC does not hold is sent along where it is there.
            code: the stage whose code it uses.
            asked: what else it is asked for.
        """
        temporary = self._setting.address is None
        digests = self._digests(store, read)
        remote = None if temporary else store.remote
        if remote is not None:
            store.push([md5 for md5 in digests.values() if md5 not in self._pushed])
            self._pushed |= {*digests.values()}
        shared = temporary or store.has_shared_cache
        files = self._files([path for path in read if path not in digests])
        work = Work(
            title=title,
            module=module,
            asked={
                **asked,
                "title": title,
                "code": code_of(self._project, self._config)[code].digest,
                "inputs": digests,
                "cache": str(store.cache) if shared else None,
            },
            files=files | {".dvc/config": config_elsewhere(remote, cache=f"../../{CACHE}")},
            installed=installed(),
            scratch=str(_scratch(self._project)) if temporary else None,
            on_gpu=self._config.run.device == "cuda",
        )
        return Sent(self._opened(), work)

    def work(self, folder: Path, title: str, piece: str, asked: Sequence[Mapping[str, Any]]) -> None:
        """Do what ``shards.work_here`` does, on workers that see the folder."""
        work_on(self._opened(), self._setting, folder, title, piece, asked, scratch=str(_scratch(self._project)))

    def _opened(self) -> Engine:
        if self._engine is None:
            scratch, num_threads = str(_scratch(self._project)), self._config.run.num_threads
            self._engine = self._stack.enter_context(opened(self._setting, num_threads=num_threads, scratch=scratch))
        return self._engine

    def _digests(self, store: DvcStore, read: Sequence[str]) -> dict[str, str]:
        """Return path -> md5 of what stages have made and DVC holds."""
        made = {
            output.path: maker.address
            for maker in stages(self._config, self._project.root)
            for output in maker.outputs.values()
            if output.kind != "metric"
        }
        return {path: store.output_digests(made[path])[path] for path in read if path in made}

    def _files(self, others: Sequence[str]) -> dict[str, bytes]:
        """Return the small files that a worker needs beside what DVC holds."""
        root = self._project.root
        own = [root / "tasks"] if is_own(root, "tasks") else []
        found = {
            file
            for path in (*(root / name for name in (*_SENT_ALWAYS, *others)), *own, index_file(self._project))
            for file in (path, *path.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        }
        return {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(found)}

    def _record(self, stage: Stage, answer: Answer) -> None:
        """Keep where it ran, and say where that machine may have come to other bits than this one would."""
        assert answer.said is not None
        file = self._project.state / RECORD
        entry: dict[str, Any] = {"engine": self._setting.text, "worker": answer.worker}
        entry |= {"started": round(answer.started, 3), "ended": round(answer.ended, 3)}
        write_json(file, {**read_json(file), stage.address: entry})
        from secateur.determinism import fingerprint

        here, there = fingerprint(constraints=self._project.constraints_file), answer.said["fingerprint"]
        other = [
            f"{name} {there.get(name)}" for name in here if name != "num_threads" and here[name] != there.get(name)
        ]
        if other:
            logger.warning(
                "%s ran on a machine with %s, unlike this one; here it would come to other bits",
                stage.address,
                ", ".join(other),
            )


def _scratch(project: Project) -> Path:
    return project.state / "engine"
