"""Engines: one SQLite file (WAL, one writer at a time, never a deadlock) or PostgreSQL, behind the same code."""

from __future__ import annotations

from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from kilowait_scheduler.core.errors import BadInput

# A transaction that will write says so at its start, so that SQLite takes its lock then and never has to upgrade one.
WRITES = "kilowait_writes"


def open_engine(url: str) -> Engine:
    """An engine for `url` (sqlite:///FILE, postgresql://...). Raises BadInput where the URL is neither."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadInput(f"database {url!r} is not a URL; write sqlite:///FILE or postgresql://...") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(url)
        case "postgresql":
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=5)
        case other:
            raise BadInput(f"database {other!r} is not supported; use sqlite or postgresql")


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30}, pool_size=5, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def migration_config(engine: Engine) -> Config:
    """Alembic's configuration for the migrations that ship with the package."""
    config = Config()
    config.set_main_option("script_location", "kilowait_scheduler.store:migrations")
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version; does nothing where it is there already."""
    command.upgrade(migration_config(engine), "head")
