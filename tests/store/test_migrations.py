"""The migrations make exactly the tables that the code describes, and take them away again."""

from __future__ import annotations

import warnings

import pytest
from alembic import command
from sqlalchemy import inspect, text

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.store.engine import migrate, migration_config, open_engine
from kilowait_scheduler.store.repository import Store


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


def test_a_ledger_from_before_it_was_chained_keeps_its_entries_and_is_sound(empty_url: str) -> None:
    engine = open_engine(empty_url)
    try:
        command.upgrade(migration_config(engine), "0001")
        at = "2026-11-23 01:02:03.456789" + ("+00" if engine.dialect.name == "postgresql" else "")
        with engine.begin() as connection:
            for number in (1, 4):  # PostgreSQL leaves gaps where a transaction failed
                connection.execute(
                    text(
                        "INSERT INTO ledger (id, at, kind, debit, credit, amount_ug, job_id, memo) VALUES "
                        "(:id, :at, 'hold', 'budget:nlp-2026-11', 'held:nlp-2026-11', :ug, 'j', 'ü')"
                    ),
                    {"id": number, "at": at, "ug": 10 * number},
                )
        migrate(engine)
        store = Store(engine)
        assert [(entry.seq, entry.amount_ug, entry.memo) for entry in store.entries()] == [(1, 10, "ü"), (2, 40, "ü")]
        assert store.verify().sound
        command.downgrade(migration_config(engine), "0001")
        migrate(engine)
        assert store.verify().count == 2
    finally:
        engine.dispose()
