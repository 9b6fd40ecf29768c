"""One control loop per database, on SQLite and PostgreSQL."""

from __future__ import annotations

from kilowait_scheduler.store.engine import open_engine
from kilowait_scheduler.store.leadership import Leadership


def test_a_second_server_stands_by_until_the_first_has_gone(empty_url: str) -> None:
    engines = [open_engine(empty_url), open_engine(empty_url)]
    first, second = (Leadership(engine) for engine in engines)
    assert first.held() and first.held()
    assert not second.held()
    first.release()
    assert second.held()
    assert not first.held()
    second.release()
    for engine in engines:
        engine.dispose()
