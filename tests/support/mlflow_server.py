"""A real `mlflow server` as a team has one: PostgreSQL behind it, an S3 store for artifacts, which moto's server plays.

Its programs are in a virtual environment of their own, made once in the user's cache; ours has the client alone. A test
module asks for it with `pytest_plugins = ["tests.support.mlflow_server"]`.
"""

import os
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_for
from tests.support.postgres import PostgresServer, programs

PINNED = ("mlflow==3.17.2", "boto3==1.44.8", "moto[server,s3]==5.2.5", "psycopg[binary]==3.3.9")
KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
#: Makes the bucket if it is not there yet; the same line is in docs/mlflow.md.
MAKE_BUCKET = (
    "import boto3, os; s3 = boto3.client('s3', endpoint_url=os.environ['MLFLOW_S3_ENDPOINT_URL']); "
    "'mlflow' in [b['Name'] for b in s3.list_buckets()['Buckets']] or s3.create_bucket(Bucket='mlflow')"
)


def python_with_mlflow() -> str:
    """The interpreter of the environment, which is made if it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hilum-tests"
    kept = cache / f"mlflow-{PINNED[0].rpartition('=')[2]}-python{sys.version_info[0]}.{sys.version_info[1]}"
    if not kept.is_dir():
        made = cache / f"{kept.name}.{os.getpid()}"
        venv.create(made, with_pip=True, clear=True)
        subprocess.run([made / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile", *PINNED], check=True)
        try:
            made.rename(kept)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return str(kept / "bin/python")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], environment: dict[str, str], url: str, log: Path) -> Iterator[str]:
    """A program that answers at `url`, ended with its children at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(lambda: _answers(url, process, log), 120, what=f"{command[0]} to answer")
        yield url.rpartition("/")[0]
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code < 500
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def mlflow_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of an MLflow server with an empty database, and of its bucket."""
    python, place = python_with_mlflow(), tmp_path_factory.mktemp("mlflow")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), **KEYS}
    with ExitStack() as stack:
        database = PostgresServer(programs())
        stack.callback(database.remove)
        database.start()
        backend = database.create_database().replace("postgresql://", "postgresql+psycopg://")
        port = free_port()
        moto = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        s3 = stack.enter_context(running(moto, environment, f"http://127.0.0.1:{port}/moto-api", place / "moto.log"))
        environment["MLFLOW_S3_ENDPOINT_URL"] = s3
        for _ in range(2):  # as at the service's first start and at a later one
            subprocess.run([python, "-c", MAKE_BUCKET], check=True, env=environment)
        port = free_port()
        server = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
                  "--backend-store-uri", backend, "--artifacts-destination", "s3://mlflow",
                  "--workers", "1"]  # fmt: skip
        health = f"http://127.0.0.1:{port}/health"
        yield stack.enter_context(running(server, environment, health, place / "mlflow.log")), f"{s3}/mlflow"


@pytest.fixture
def mlflow_server(mlflow_services: tuple[str, str]) -> str:
    """The server's address."""
    return mlflow_services[0]


@pytest.fixture
def stored(mlflow_services: tuple[str, str]) -> Callable[[], str]:
    """What the bucket lists, as S3 says it in XML."""
    return lambda: httpx.get(mlflow_services[1], params={"list-type": "2"}, trust_env=False).text
