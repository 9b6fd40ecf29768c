"""Replay: recordings read as they are, gaps kept, mistakes named by file, line and column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.fake_grid import truth
from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.providers.replay import Replay
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)
START = datetime(2022, 1, 1, tzinfo=UTC)
Record = Callable[..., Path]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


async def test_the_forecast_is_the_recording_from_now_on_and_says_so(record: Record) -> None:
    replay = Replay(record("DE.csv", start=START, hours=48))
    now = START + 10.5 * HOUR

    forecast = await replay.forecast(DE, now=now, until=now + 5 * HOUR)
    assert (forecast.series.start, forecast.series.end) == (START + 10 * HOUR, START + 16 * HOUR)
    assert [slot.g_per_kwh for slot in forecast.series.slots] == [truth(slot.start) for slot in forecast.series.slots]
    (part,) = forecast.parts
    assert (part.source, part.note) == ("replay:DE", "recorded values replayed as the forecast")
    assert forecast.issued_at == now


async def test_the_forecast_ends_with_the_recording(record: Record) -> None:
    replay = Replay(record("DE.csv", start=START, hours=48))
    now = START + 40 * HOUR

    assert (await replay.forecast(DE, now=now, until=now + 100 * HOUR)).series.end == START + 48 * HOUR


async def test_a_shift_plays_an_old_recording_as_if_now(record: Record, now: datetime) -> None:
    shift = timedelta(weeks=245)
    replay = Replay(record("DE.csv", start=START, hours=24 * 14), shift=shift)

    first, last = replay.span(DE)
    assert (first, last) == (START + shift, START + shift + timedelta(days=14))
    within = first + 30.5 * HOUR
    assert (await replay.forecast(DE, now=within, until=within + HOUR)).series.at(within) == truth(START + 30 * HOUR)
    assert replay.series(DE).start == first


async def test_outside_the_recording_is_permanent_and_tells_what_it_holds(record: Record) -> None:
    replay = Replay(record("DE.csv", start=START, hours=48))
    for start in (START - 10 * HOUR, START + 48 * HOUR):
        with pytest.raises(Permanent, match=r"runs from 2022-01-01T00:00.* to 2022-01-03T00:00.*: shift it"):
            await replay.forecast(DE, now=start, until=start + HOUR)
        with pytest.raises(Permanent, match="shift it"):
            await replay.history(DE, start=start, end=start + HOUR, now=start + HOUR)


async def test_a_gap_at_now_is_a_passing_failure(record: Record) -> None:
    hole = START + 10 * HOUR
    replay = Replay(record("DE.csv", start=START, hours=48, without=frozenset({hole})))

    with pytest.raises(Transient, match="a gap in the recording"):
        await replay.forecast(DE, now=hole, until=hole + HOUR)
    with pytest.raises(Transient, match="a gap in the recording"):
        await replay.history(DE, start=hole, end=hole + HOUR, now=hole + HOUR)
    with pytest.raises(Transient, match="no value for 2022-01-01T10:30"):
        await replay.forecast(DE, now=hole + HOUR / 2, until=hole + 5 * HOUR)


def test_the_slot_length_is_the_most_common_step_and_missing_rows_are_gaps(tmp_path: Path) -> None:
    rows = [0, 5, 10, 15, 30, 35, 38, 40]
    text = "\n".join(f"2022-01-01T00:{minute:02d}:00Z,{minute}" for minute in rows)
    series = Replay(write(tmp_path, "DE.csv", f"datetime,carbon_intensity_lifecycle\n{text}\n")).series(DE)

    five = timedelta(minutes=5)
    assert [slot.end - slot.start for slot in series.slots] == [five] * 5 + [3 * five / 5, 2 * five / 5, five]
    assert list(series.gaps(series.start, series.end)) == [(START + 4 * five, START + 6 * five)]


@pytest.mark.parametrize("blank", ["", "  ", "NaN", "nan", "NA", "null", "None"])
def test_a_blank_is_a_gap_and_zero_is_a_value(tmp_path: Path, blank: str) -> None:
    text = (
        "datetime,carbon_intensity_lifecycle\n"
        f"2022-01-01T00:00:00Z,0\n2022-01-01T01:00:00Z,{blank}\n2022-01-01T02:00:00Z,7\n"
    )
    series = Replay(write(tmp_path, "DE.csv", text)).series(DE)

    assert [slot.g_per_kwh for slot in series.slots] == [0, 7]
    assert list(series.gaps(START, START + 3 * HOUR)) == [(START + HOUR, START + 2 * HOUR)]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("2022-01-01T01:00:00Z,abc", "line 3, column 'carbon_intensity_lifecycle': 'abc' is not between 0 and 3000"),
        ("2022-01-01T01:00:00Z,-5", "line 3, column 'carbon_intensity_lifecycle': '-5' is not between"),
        ("2022-01-01T01:00:00Z,inf", "'inf' is not between"),
        ("2022-01-01T01:00:00Z,300000", "'300000' is not between"),
        ("2022-01-01T01:00:00,5", "line 3, column 'datetime': '2022-01-01T01:00:00' is not a time with its zone"),
        ("01.02.2022 10:00,5", "line 3, column 'datetime'"),
        (",5", "line 3, column 'datetime': '' is not a time"),
        ("2022-01-01T00:00:00Z,5", "line 3, column 'datetime': 2022-01-01T00:00:00+00:00 occurs twice"),
        ("2022-01-01T01:00:00Z", "line 3: 1 columns where the header has 2"),
        ("2022-01-01T01:00:00Z,5,6", "line 3: 3 columns where the header has 2"),
    ],
)
async def test_a_malformed_row_is_refused_by_file_line_and_column(tmp_path: Path, row: str, told: str) -> None:
    text = f"datetime,carbon_intensity_lifecycle\n2022-01-01T00:00:00Z,1\n{row}\n"
    replay = Replay(write(tmp_path, "DE.csv", text))

    with pytest.raises(Refused) as caught:
        await replay.forecast(DE, now=START, until=START + HOUR)
    assert str(tmp_path / "DE.csv") in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unordered_rows_other_offsets_and_spreadsheet_marks_are_read(tmp_path: Path) -> None:
    text = (
        "\ufeffdatetime, carbon_intensity_lifecycle\r\n"
        "2022-01-01T03:00:00+01:00,3\r\n2022-01-01 00:00:00Z,1\r\n\r\n2022-01-01T01:00:00.000Z,2\r\n"
    )
    series = Replay(write(tmp_path, "DE.csv", text)).series(DE)

    assert [(slot.start, slot.g_per_kwh) for slot in series.slots] == [(START + n * HOUR, n + 1) for n in range(3)]


def test_values_the_file_marks_as_estimated_are_flagged(tmp_path: Path) -> None:
    text = "datetime,carbon_intensity_lifecycle,estimated\n2022-01-01T00:00:00Z,1,0\n2022-01-01T01:00:00Z,2,1\n"
    assert [slot.estimated for slot in Replay(write(tmp_path, "DE.csv", text)).series(DE).slots] == [False, True]

    with pytest.raises(Refused, match="column 'estimated': 'maybe' is neither 0 nor 1"):
        Replay(write(tmp_path, "FR.csv", text.replace(",1\n", ",maybe\n"))).series(Zone("FR"))


def test_gzipped_files_and_folders_are_read_with_the_zone_in_the_name(tmp_path: Path, record: Record) -> None:
    plain = record("CC_CISO.csv", start=START, hours=5)
    (tmp_path / "US-NY.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    write(tmp_path, "notes.csv", "job_id,duration\n1,2\n")
    write(tmp_path, "README.md", "not a recording")
    replay = Replay(tmp_path)

    assert replay.zones() == frozenset({"CC_CISO", "US-NY"})
    assert replay.series(Zone("US-NY")).slots == replay.series(Zone("CC_CISO")).slots
    assert Replay([plain, tmp_path / "US-NY.csv.gz"]).zones() == replay.zones()


def test_the_column_decides_the_signal(tmp_path: Path) -> None:
    both = "datetime,carbon_intensity_direct,carbon_intensity_lifecycle,g\n"
    rows = "2022-01-01T00:00:00Z,1,2,3\n2022-01-01T01:00:00Z,1,2,3\n"
    path = write(tmp_path, "DE.csv", both + rows)

    for column, signal, value in (
        (None, AVERAGE_LIFECYCLE, 2),
        ("direct", AVERAGE_DIRECT, 1),
        ("carbon_intensity_direct", AVERAGE_DIRECT, 1),
        ("lifecycle", AVERAGE_LIFECYCLE, 2),
    ):
        replay = Replay(path, column=column)
        assert (replay.signal, replay.series(DE).at(START)) == (signal, value)
    assert Replay(path, column="g", signal=AVERAGE_OPERATIONAL).series(DE).at(START) == 3
    with pytest.raises(Refused, match="say which signal column 'g' holds"):
        Replay(path, column="g")
    with pytest.raises(Refused, match="say which signal column 'carbon_intensity_direct' holds"):
        Replay(path, column="direct", signal=AVERAGE_LIFECYCLE)
    with pytest.raises(Refused, match="no file has column 'x'; there are carbon_intensity_direct"):
        Replay(path, column="x", signal=AVERAGE_DIRECT)


def test_a_file_with_direct_intensity_alone_is_direct(record: Record) -> None:
    path = record("DE.csv", start=START, hours=3, column="carbon_intensity_direct")

    assert Replay(path).signal == AVERAGE_DIRECT


def test_a_zone_whose_file_lacks_the_column_is_not_offered(tmp_path: Path, record: Record) -> None:
    record("DE.csv", start=START, hours=3)
    record("FR.csv", start=START, hours=3, column="carbon_intensity_direct")

    assert Replay(tmp_path).zones() == frozenset({"DE"})


def test_a_path_without_recordings_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no recordings; give \*\.csv"):
        Replay(tmp_path)
    with pytest.raises(Refused, match=r"no recordings; give \*\.csv"):
        Replay([])
    with pytest.raises(Refused, match="no such file"):
        Replay(tmp_path / "DE.csv")
    with pytest.raises(Refused, match="no column 'datetime'; it has when, g"):
        Replay(write(tmp_path, "FR.csv", "when,g\n"))
    with pytest.raises(Refused, match=r"2022\.csv: its name is no zone id"):
        Replay(write(tmp_path, "2022.csv", "datetime,carbon_intensity_lifecycle\n"))


def test_two_files_for_one_zone_are_refused(tmp_path: Path, record: Record) -> None:
    plain = record("DE.csv", start=START, hours=3)
    (tmp_path / "DE.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))

    with pytest.raises(Refused, match=r"zone DE is also in .*DE\.csv; keep one"):
        Replay(tmp_path)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    good = gzip.compress(b"datetime,carbon_intensity_lifecycle\n" + b"2022-01-01T00:00:00Z,1\n" * 500)
    (tmp_path / "DE.csv.gz").write_bytes(b"plain text")
    with pytest.raises(Refused, match="not a whole gzip file"):
        Replay(tmp_path / "DE.csv.gz")
    (tmp_path / "DE.csv.gz").write_bytes(good[: len(good) - 8])
    with pytest.raises(Refused, match="not a whole gzip file"):
        Replay(tmp_path / "DE.csv.gz").series(DE)
    (tmp_path / "FR.csv").write_bytes(b"datetime,\xff\xfe\n")
    with pytest.raises(Refused, match="not a CSV file in UTF-8"):
        Replay(tmp_path / "FR.csv")
    with pytest.raises(Refused, match="at least two are needed"):
        Replay(write(tmp_path, "SE.csv", "datetime,carbon_intensity_lifecycle\n2022-01-01T00:00:00Z,1\n")).series(
            Zone("SE")
        )


@pytest.fixture(scope="module")
def six_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "DE.csv"
    rows = [f"{START + n * HOUR:%Y-%m-%dT%H:%M:%SZ},{100 + n}" for n in range(24 * 6)]
    path.write_text("\n".join(["datetime,carbon_intensity_lifecycle", *rows]))
    return path


@given(hour=st.integers(0, 23), ahead=st.integers(1, 30), minute=st.integers(0, 59))
async def test_history_and_forecast_meet_without_overlap(six_days: Path, hour: int, ahead: int, minute: int) -> None:
    replay = Replay(six_days)
    now = START + timedelta(days=2, hours=hour, minutes=minute)

    history = await replay.history(DE, start=START, end=now + ahead * HOUR, now=now)
    forecast = await replay.forecast(DE, now=now, until=now + ahead * HOUR)
    assert history.end == forecast.series.start
    assert forecast.series.covers(now, now + ahead * HOUR)
