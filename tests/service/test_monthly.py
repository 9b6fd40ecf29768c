"""Reports of past months: written once, provisional until settled, by the leading server, also after an absence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.service.monthly import Monthly
from world import HOUR, World, make_world

Make = Callable[..., Monthly]
DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A job that ran on 23 November; recordings reach into December."""
    made = make_world(tmp_path, {"AA": [300.0] * 24})
    job = made.submit(name="a", duration="2h", within="3h", resources={"gpus": 4})
    made.finish(job.id)
    yield made
    made.close()


@pytest.fixture
def make(world: World, tmp_path: Path) -> Make:
    def monthly(zone: str = "UTC", *, leads: bool = True) -> Monthly:
        reporting, clock = world.server.reporting, world.server.clock
        return Monthly(reporting=reporting, clock=clock, folder=tmp_path / "months", zone=zone, may_act=lambda: leads)

    return monthly


def go_to(world: World, moment: str) -> None:
    world.wall[0] += (datetime.fromisoformat(moment) - world.now) // timedelta(microseconds=1)


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def write(monthly: Monthly) -> list[str]:
    return names(asyncio.run(monthly.write_due()))


FINAL = [f"savings-2026-11.{ending}" for ending in ("html", "csv", "json")]
PROVISIONAL = [f"savings-2026-11-provisional.{ending}" for ending in ("html", "csv", "json")]


def test_a_settled_month_is_written_once_however_often_the_server_starts(world: World, make: Make) -> None:
    go_to(world, "2026-11-30T23:59:00+00:00")
    assert write(make()) == [], "it is not over yet"
    go_to(world, "2026-12-01T02:00:00+00:00")
    assert write(make()) == FINAL, "its only job has been final since the day before"
    assert write(make()) == []
    go_to(world, "2026-12-20T00:00:00+00:00")
    assert write(make()) == []


def test_what_is_not_settled_is_provisional_and_written_again_once_it_is(
    world: World, make: Make, tmp_path: Path
) -> None:
    late = world.submit(name="b", duration="2h", within="3h", resources={"gpus": 4})
    go_to(world, "2026-11-29T00:00:00+00:00")
    late = world.submit(name="c", duration="2h", within="3h", resources={"gpus": 4})
    world.finish(late.id)
    go_to(world, "2026-12-01T00:00:00+00:00")
    assert write(make()) == PROVISIONAL
    told = json.loads((tmp_path / "months" / PROVISIONAL[-1]).read_text())
    final_from = datetime.fromisoformat(told["totals"]["final_from"])
    go_to(world, (final_from - HOUR).isoformat())
    assert write(make()) == []
    go_to(world, final_from.isoformat())
    assert write(make()) == FINAL
    assert sorted(path.name for path in (tmp_path / "months").iterdir()) == sorted(FINAL)


def test_a_month_begins_at_midnight_of_its_time_zone(world: World, make: Make) -> None:
    go_to(world, "2026-11-30T12:00:00+00:00")
    assert write(make("UTC")) == []
    assert write(make("Pacific/Kiritimati")) == FINAL, "there it is December already"


def test_only_the_leading_server_writes(world: World, make: Make, tmp_path: Path) -> None:
    go_to(world, "2026-12-02T00:00:00+00:00")
    assert write(make(leads=False)) == []
    assert not (tmp_path / "months").exists()


def test_files_left_by_a_crash_are_made_again_and_a_folder_that_is_none_is_told(
    world: World, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_to(world, "2026-12-02T00:00:00+00:00")
    months = tmp_path / "months"
    months.mkdir()
    (months / "savings-2026-11.html").write_text("cut off")
    (months / "savings-2026-11-provisional.json").write_text("{")
    assert write(make()) == FINAL
    assert (months / "savings-2026-11.html").read_text().rstrip().endswith("</html>")
    for path in months.iterdir():
        path.unlink()
    months.rmdir()
    months.write_text("a file")
    assert write(make()) == []
    assert "the monthly report is not written" in caplog.text
