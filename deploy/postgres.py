"""PostgreSQL of the distribution, for one project: data of its own, reached through a socket that only we can open."""

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.processes import Account, Server
from secateur.errors import ProjectError

ROLE = "secateur"
_DEBIAN = Path("/usr/lib/postgresql")
_OLDEST = 13
"""Prefect's migrations need ``pg_trgm``, which a role that is no superuser of the machine may create since 13."""


def find_binaries(path: str | None = None, places: Sequence[Path] = (_DEBIAN,)) -> Path:
    """Return the folder with ``initdb`` and ``postgres``: on the path, or where Debian keeps its versions.

    Args:
        path: searched instead of PATH.
        places: folders with a folder per version, searched newest first.

    Raises:
        ProjectError: there is none, or it is too old.
    """
    found = shutil.which("initdb", path=path)
    folders = [Path(found).resolve().parent] if found else []
    for place in places:
        versions = [folder for folder in place.glob("*/bin") if folder.parent.name.isdigit()]
        folders += sorted(versions, key=lambda folder: -int(folder.parent.name))
    for folder in folders:
        if os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK):
            said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
            version = re.search(r"\d+", said)
            if version and int(version[0]) < _OLDEST:
                raise ProjectError(f"PostgreSQL {_OLDEST} or newer is needed, found {said.strip()} in {folder}")
            return folder
    raise ProjectError(
        f"the team set-up needs PostgreSQL: no initdb on PATH or in {', '.join(map(str, places))}/*/bin; install it "
        "(Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server postgresql-contrib; "
        "macOS: brew install postgresql)"
    )


class Postgres:
    """One cluster. No network: only we may enter the folder of its socket, so it needs no password."""

    def __init__(self, folder: Path) -> None:
        """Find the binaries and whom they run as; nothing starts.

        Args:
            folder: state of the team set-up.

        Raises:
            ProjectError: PostgreSQL is not there, or we are root and its account is not there.
        """
        self._binaries = find_binaries()
        self._folder = folder
        self._account = _account()
        self.data = data_folder(folder, self._account)

    def start(self, log: Path) -> Server:
        """Make the cluster if there is none, and start it."""
        if not (self.data / "PG_VERSION").is_file():
            self._initialise()
        self.socket = Path(tempfile.mkdtemp(prefix="secateur-"))  # short: a socket's path may have 107 bytes
        if self._account is not None:
            os.chown(self.socket, self._account.uid, self._account.gid)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0700",
        }
        command = [str(self._binaries / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT ends sessions and writes everything; SIGTERM would wait for the clients to leave.
        where = self.data if self._account is None else Path("/")
        return Server("PostgreSQL", command, log=log, account=self._account, end_with=signal.SIGINT, cwd=where)

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        import psycopg2

        try:
            psycopg2.connect(dbname="postgres", user=ROLE, host=str(self.socket)).close()
        except psycopg2.OperationalError:
            return False
        return True

    def create_databases(self, *names: str) -> None:
        """Make the databases that do not exist yet."""
        import psycopg2
        from psycopg2 import sql

        connection = psycopg2.connect(dbname="postgres", user=ROLE, host=str(self.socket))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database")
                present = {row[0] for row in cursor.fetchall()}
                for name in names:
                    if name not in present:
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        finally:
            connection.close()

    def url(self, driver: str, database: str) -> str:
        """Return the address of a database for SQLAlchemy; it holds no secret."""
        return f"postgresql+{driver}://{ROLE}@/{database}?host={self.socket}"

    def remove_socket(self) -> None:
        """Remove the folder of the socket."""
        shutil.rmtree(self.socket, ignore_errors=True)

    def _initialise(self) -> None:
        """Make the cluster beside its place, so that a killed attempt is not taken for one."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        if self._account is not None:
            for folder in (fresh, fresh.parent):
                os.chown(folder, self._account.uid, self._account.gid)
        completed = subprocess.run(
            [
                *(self._binaries / "initdb", "-D", fresh, "--username", ROLE, "--encoding", "UTF8", "--locale", "C"),
                *("--auth-local", "trust", "--auth-host", "reject"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **({} if self._account is None else self._account.options()),
        )
        if completed.returncode != 0:
            said = (completed.stderr.strip() or "nothing").splitlines()[-1]
            raise ProjectError(f"initdb could not make a database in {fresh}: {said}")
        fresh.rename(self.data)


def data_folder(folder: Path, account: Account | None) -> Path:
    """Return where the cluster lies: in the state folder, or for root in the home of PostgreSQL's account.

    That account cannot reach a folder below one that only root may enter.
    """
    if account is None:
        return folder / "postgres"
    home = Path(pwd.getpwuid(account.uid).pw_dir)
    return home / "secateur" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def _account() -> Account | None:
    """Return PostgreSQL's account when we are root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam("postgres")
    except KeyError as error:
        raise ProjectError(
            "PostgreSQL does not run as root, and this machine has no account postgres; run as another user, or "
            "install the distribution's package, which makes it"
        ) from error
    return Account(found.pw_uid, found.pw_gid)
