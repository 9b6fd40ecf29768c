"""The migrations make exactly the tables that the code describes, and take them away again."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import inspect, text

from kilowait_scheduler.core.energy import Readings
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.store.engine import migrate, migration_config, open_engine
from kilowait_scheduler.store.repository import Store

from .sample import T0, reading


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


@pytest.mark.parametrize(
    "at", ["2026-11-23 01:02:03.999999", "2026-11-23 01:02:04.000000", "2026-03-29 00:59:59.000001"]
)
def test_readings_of_an_earlier_release_are_kept_to_the_microsecond_and_taken_for_the_same(
    empty_url: str, at: str
) -> None:
    engine = open_engine(empty_url)
    try:
        command.upgrade(migration_config(engine), "0006")
        zone = "+00" if engine.dialect.name == "postgresql" else ""
        key = {"agent_id": "node-1", "stream_epoch": "e1"}
        times = {"start": at + zone, "end": f"2026-11-23 01:02:05.123456{zone}"}
        rows: dict[str, dict[str, object]] = {
            "stream": {**key, "stored_through": 1, "last_seen_at": times["end"]},
            "reading": {
                **key, **times, "seq": 1, "region": "aa", "node": "node", "source": "nvml", "device_uuid": "GPU-0",
                "energy_mj": 1000, "idle_mj": 250, "unattributed_mj": 0, "quality": "measured", "method": "counter",
                "uncertainty_pct": 5.0, "digest": "of then",
            },
            "energy_share": {
                **key, **times, "seq": 1, "run_id": "kw-0a1-1", "job_id": "0a1", "region": "aa", "energy_mj": 750,
                "uncertainty_pct": 5.0, "estimated": False,
            },
        }  # fmt: skip
        with engine.begin() as connection:
            for table, row in rows.items():
                names = ", ".join(f'"{name}"' for name in row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
        for _ in range(2):  # forth, and back and forth
            migrate(engine)
            store = Store(engine)
            (interval,) = store.job_energy("0a1")
            assert (interval.start, interval.energy_mj) == (datetime.fromisoformat(at).replace(tzinfo=UTC), 750)
            assert interval.end == datetime(2026, 11, 23, 1, 2, 5, 123456, tzinfo=UTC)
            again = reading(1)._replace(start=interval.start, end=interval.end)
            assert store.add_readings(Readings.of([again, reading(2)]), at=T0) == ({"e1": 2}, [])
            assert store.job_energy_mj(["0a1"]) == {"0a1": 1500}
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM reading WHERE seq = 2"))
                connection.execute(text("DELETE FROM energy_share WHERE seq = 2"))
                connection.execute(text("UPDATE stream SET stored_through = 1"))
            command.downgrade(migration_config(engine), "0006")
    finally:
        engine.dispose()
