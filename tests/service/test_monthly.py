"""Reports of past months: written once, provisional until settled, by the leading server, also after an absence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.service.monthly import Monthly
from kilowait_scheduler.service.reporting import Asked, Reporting
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
    (months / FINAL[-1]).write_text('{"torn":')
    assert write(make()) == FINAL, "half a file is no report"
    (months / PROVISIONAL[0]).write_text("left by a kill after the final one was in place")
    assert write(make()) == []
    assert sorted(path.name for path in months.iterdir()) == sorted(FINAL)
    for path in months.iterdir():
        path.unlink()
    months.rmdir()
    months.write_text("a file")
    assert write(make()) == []
    assert "the monthly report of 2026-11 is not written" in caplog.text


def test_a_month_that_cannot_be_made_does_not_hold_up_the_others(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Reporting.savings

    async def savings(self: Reporting, asked: Asked | None = None) -> Report:
        if asked is not None and asked.start is not None and asked.start.month == 11:
            raise ValueError("Out of range float values are not JSON compliant")
        return await made(self, asked)

    monkeypatch.setattr(Reporting, "savings", savings)
    go_to(world, "2027-01-05T00:00:00+00:00")
    assert {name[:15] for name in write(make())} == {"savings-2026-12"}
    assert "the monthly report of 2026-11 is not made" in caplog.text


@pytest.mark.parametrize(
    ("line", "final"),
    [
        ({}, True),
        ({"provisional": True}, False),
        ({"carbon_g": None, "baseline": None, "note": "no figure yet"}, False),
        ({"carbon_g": None, "baseline": None, "measured_pct": 0.0}, True),
    ],
)
def test_a_month_is_final_once_no_figure_may_still_come_or_change(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch, line: dict[str, object], final: bool
) -> None:
    go_to(world, "2026-12-20T00:00:00+00:00")
    report = asyncio.run(world.server.reporting.savings())
    report = replace(report, jobs=tuple(replace(job, **line) for job in report.jobs))  # type: ignore[arg-type]

    async def savings(_self: Reporting, _asked: Asked | None = None) -> Report:
        return report

    monkeypatch.setattr(Reporting, "savings", savings)
    assert write(make()) == (FINAL if final else PROVISIONAL)
    assert write(make()) == [], "a provisional one is made again after a day"
    go_to(world, "2026-12-21T01:00:00+00:00")
    assert write(make()) == ([] if final else PROVISIONAL)
