"""The migrations make exactly the tables that the code describes, and take them away again."""

from __future__ import annotations

import warnings

import pytest
from alembic import command
from sqlalchemy import inspect

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.store.engine import migrate, migration_config, open_engine


def test_migrations_go_up_match_the_tables_and_go_down(empty_url: str) -> None:
    engine = open_engine(empty_url)
    try:
        migrate(engine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLite cannot tell an index with a condition; PostgreSQL can
            command.check(migration_config(engine))
        assert {"job", "run", "event", "ledger", "reading"} <= set(inspect(engine).get_table_names())
        migrate(engine)  # a server that starts again finds nothing to do
        command.downgrade(migration_config(engine), "base")
        assert inspect(engine).get_table_names() == ["alembic_version"]
        migrate(engine)
        assert "job" in inspect(engine).get_table_names()
    finally:
        engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", ""])
def test_a_database_we_do_not_know_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_engine(url)
    assert "sqlite" in str(caught.value)
    assert "\n" not in str(caught.value)
