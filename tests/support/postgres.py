"""A real PostgreSQL server for tests: its own data directory, a free port, stopped at the end.

A test module asks for it with `pytest_plugins = ["tests.support.postgres"]`. `database_url` runs a test against an
empty database of SQLite and one of PostgreSQL.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from storage.database import open_database
from storage.journal import Journal
from tests.conftest import require, wait_for


class PostgresServer:
    """One server. `stop` and `start` again keep data and port, so that a test can take the database away."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="hilum-postgres-"))
        self._process: subprocess.Popen[Any] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._directory, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        how = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self._run(str(programs / "initdb"), "-D", str(self._data), *how)

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=self._directory, **self._as_user)

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        # Without fsync: processes are killed here, not machines, and what the kernel was given is not lost.
        command += ["-k", str(self._directory), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        log = (self._directory / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory, **self._as_user)
        wait_for(self._answers, what="PostgreSQL to start")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends all connections in order, SIGQUIT as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def create_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"hilum_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def programs() -> Path:
    """The directory of the newest server's programs; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if found:
        return found[-1].parent
    require("initdb", "postgres")
    return Path(str(shutil.which("initdb"))).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that all tests of the session share; who stops it starts it again."""
    server = PostgresServer(programs())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hilum.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Engine:
    """The empty database, opened."""
    return open_database(database_url, tmp_path)


@pytest.fixture
def journal(engine: Engine) -> Journal:
    """The journal in it."""
    return Journal(engine)
