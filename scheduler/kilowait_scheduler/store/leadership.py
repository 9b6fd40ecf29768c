"""One control loop per database: whoever holds the lock goes round, the others stand by and take over when it is gone.

SQLite: a lock on a file beside the database, which the kernel gives back when its process dies. PostgreSQL: an advisory
lock of a session, which the server gives back when the connection does. Both are asked for again at every round; row
versions guard what a leader that lost its session without noticing might still write.
"""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

log = logging.getLogger("kilowait.leadership")

_KEY = 0x6B_69_6C_6F_77_61_69_74  # "kilowait" in ASCII: any number will do that no other program uses


class Leadership:
    """Whether this server is the one that acts on the database of `engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file: IO[str] | None = None
        self._session: Connection | None = None
        self._said = False

    def held(self) -> bool:
        """True if this server leads, now or from now on; asks each time, and never waits."""
        held = self._try_file() if self._engine.dialect.name == "sqlite" else self._try_session()
        if not held and not self._said:
            log.warning("another server holds this database; standing by until it has gone")
        self._said = not held
        return held

    def release(self) -> None:
        """Give the lead back at once."""
        if self._file is not None:
            self._file.close()
        if self._session is not None:
            self._session.detach()  # back in the pool it would keep the lock
            self._session.close()
        self._file = self._session = None

    def _try_file(self) -> bool:
        if self._file is not None:
            return True
        path = self._engine.url.database
        if path in (None, "", ":memory:"):
            return True
        file = Path(f"{path}.lock").open("w")  # noqa: SIM115 - the lock lives as long as the file is open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def _try_session(self) -> bool:
        try:
            if self._session is not None:
                self._session.execute(text("SELECT 1"))
                return True
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY}).scalar():
                self._session = session
                return True
            session.close()
        except DBAPIError as error:
            log.warning("lost the database session that holds the lead: %s", type(error).__name__)
            if self._session is not None:
                self._session.invalidate()
                self._session.close()
            self._session = None
        return False
