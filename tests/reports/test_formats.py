"""The same totals in every form a report can be had in, whatever the report; what is not known stays empty."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kilowait_agents.emissions_csv import COLUMNS as CODECARBON
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import Signal
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import MJ_PER_KWH, Emission, EnergyInterval, emissions
from kilowait_scheduler.core.clean import MarketBased
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.ranges import Range, summed
from kilowait_scheduler.reports import parquet
from kilowait_scheduler.reports.formats import FORMS
from kilowait_scheduler.reports.model import By, JobLine, Report, Use
from kilowait_scheduler.reports.render import COLUMNS
from kilowait_scheduler.reports.sums import groups_of, totals_of
from kilowait_scheduler.reports.uses import Drawn, market_based_of, matched_of, uses_of
from reports import sample

grams = st.floats(0.001, 1e7)
shift = st.floats(-1e6, 1e6)


@st.composite
def lines(draw: st.DrawFn, number: int) -> JobLine:
    """A job with one to three parts in regions and months, or without a reading; it may have lost."""
    project = draw(st.sampled_from(["chat", "=sum(a1)", "größe", "a,b"]))
    windows = [(draw(st.sampled_from(["us-west", "eu-north"])), 2.0 * n, 2.0 * n + 1) for n in range(3)]
    measured = draw(st.booleans())
    parts = draw(st.lists(st.tuples(grams, grams), min_size=1, max_size=3))
    places = [("us-west", "2026-11"), ("eu-north", "2026-11"), ("us-west", "2026-12")]
    made = draw(st.none() | st.just(Range(1.0, 2.0, 3.0)))
    share = draw(st.none() | st.floats(0, 1))
    uses = tuple(
        Use(
            *place,
            kwh,
            g,
            made,
            market_based=MarketBased(2 * g) if share is not None else None,
            hourly_matched_kwh=share * kwh if share is not None else None,
        )
        for place, (kwh, g) in zip(places, parts, strict=False)
    )
    uses = (*uses, Use("de-central", "2026-12", None, None, made)) if draw(st.booleans()) else uses
    line = sample.job(
        f"job{number}",
        *windows,
        energy_kwh=sum(kwh for kwh, _ in parts) if measured else None,
        carbon_g=sum(g for _, g in parts) if measured else None,
        levers=(draw(shift), draw(shift), 0.0, draw(st.floats(-1e4, 0))),
        project=project,
    )
    made_here = summed(use.embodied_g for use in uses)
    if not measured:
        return replace(line, id=f"j{number}")
    matched_kwh, matched_pct = matched_of(uses)
    return replace(
        line,
        id=f"j{number}",
        uses=uses,
        embodied_g=made_here,
        market_based=market_based_of(uses),
        hourly_matched_kwh=matched_kwh,
        hourly_matched_pct=matched_pct,
    )


@st.composite
def reports(draw: st.DrawFn) -> Report:
    count = draw(st.integers(0, 6))
    found = tuple(draw(lines(n)) for n in range(count))
    return replace(sample.sample(), jobs=found, totals=totals_of(found))


def rows(report: Report, form: str) -> list[dict[str, str]]:
    text = FORMS[form].write(report)
    assert isinstance(text, str)
    return list(csv.DictReader(io.StringIO(text)))


def flat(record: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in record.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def column(found: list[dict[str, object]] | list[dict[str, str]], name: str) -> float:
    return sum(float(str(row[name])) for row in found if row[name] not in ("", None))


def nearly(value: float) -> object:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(reports())
def test_totals_are_equal_in_every_form(report: Report) -> None:
    totals = report.totals
    read = json.loads(FORMS["json"].write(report))["totals"]
    assert (read["carbon_g"], read["energy_kwh"], read["saved_g"]) == (
        totals.carbon_g,
        totals.energy_kwh,
        totals.saved_g,
    )
    packed = FORMS["parquet"].write(report)
    assert isinstance(packed, bytes)
    for table in (rows(report, "csv"), parquet.read(packed)):
        for name, total in (
            ("carbon_g", totals.carbon_g),
            ("energy_kwh", totals.energy_kwh),
            ("saved_g", totals.saved_g),
            ("baseline_carbon_g", totals.baseline_g),
        ):
            assert column(table, name) == nearly(total)
    assert column(rows(report, "codecarbon"), "emissions") * 1e3 == nearly(totals.carbon_g)
    assert column(rows(report, "codecarbon"), "energy_consumed") == nearly(totals.energy_kwh)
    assert column(rows(report, "aws"), "total_lbm_emissions_value") * 1e6 == nearly(totals.carbon_g)
    located = "carbon_footprint_kgCO2e.scope2.location_based"
    google = [flat(json.loads(line)) for line in str(FORMS["google"].write(report)).splitlines()]
    assert column(google, located) * 1e3 == nearly(totals.carbon_g)
    assert column(rows(report, "google-csv"), located) * 1e3 == nearly(totals.carbon_g)
    focus = rows(report, "focus")
    assert column(focus, "x_CarbonLocationBasedGrams") == nearly(totals.carbon_g)
    assert column(focus, "ConsumedQuantity") == nearly(totals.energy_kwh)
    assert column(focus, "x_CarbonSavedGrams") == nearly(totals.saved_g)
    assert column(focus, "x_CarbonBaselineGrams") == nearly(totals.baseline_g)
    manifest = yaml.safe_load(str(FORMS["impact-framework"].write(report)))
    outputs = [
        output
        for project in manifest["tree"]["children"].values()
        for job in project["children"].values()
        for output in job["outputs"]
    ]
    assert sum(output["carbon-operational"] for output in outputs) == nearly(totals.carbon_g)
    assert sum(output["energy"] for output in outputs) == nearly(totals.energy_kwh)
    market = totals.market_based
    if market is not None:
        assert column(rows(report, "csv"), "market_based_g") == nearly(market.carbon_g)
        assert column(parquet.read(packed), "market_based_g") == nearly(market.carbon_g)
        assert column(rows(report, "aws"), "total_mbm_emissions_value") * 1e6 == nearly(market.carbon_g)
        assert column(google, "carbon_footprint_kgCO2e.scope2.market_based") * 1e3 == nearly(market.carbon_g)
        assert column(focus, "x_CarbonMarketBasedGrams") == nearly(market.carbon_g)
        assert column(focus, "x_EnergyHourlyMatchedKilowattHours") == nearly(totals.hourly_matched_kwh or 0.0)
    for output in outputs:
        assert output["energy"] * output["grid/carbon-intensity"] == nearly(output["carbon-operational"])


def test_a_job_without_readings_is_an_empty_cell_or_no_row_and_never_a_zero() -> None:
    report = sample.nothing_measured()
    assert [job for job in report.jobs if job.runs]
    assert rows(report, "codecarbon") == []
    assert rows(report, "focus") == []
    assert rows(report, "aws") == []
    assert FORMS["google"].write(report) == ""
    packed = FORMS["parquet"].write(report)
    assert isinstance(packed, bytes)
    assert [row["carbon_g"] for row in parquet.read(packed)] == [None] * len(report.jobs)


def test_columns_are_those_of_the_systems_they_are_for() -> None:
    report = sample.sample()
    header = {name: str(FORMS[name].write(report)).splitlines()[0] for name in ("aws", "codecarbon", "focus")}
    assert header["codecarbon"] == ",".join(CODECARBON)
    assert sorted(header["aws"].split(",")) == [
        "last_refresh_timestamp",
        "location",
        "model_version",
        "payer_account_id",
        "product_code",
        "region_code",
        "total_lbm_emissions_unit",
        "total_lbm_emissions_value",
        "total_mbm_emissions_unit",
        "total_mbm_emissions_value",
        "usage_account_id",
        "usage_period_end",
        "usage_period_start",
    ]
    assert [name for name in header["focus"].split(",") if name[0].islower()] == [
        name for name in header["focus"].split(",") if name.startswith("x_")
    ]
    first = json.loads(str(FORMS["google"].write(report)).splitlines()[0])
    assert first["carbon_model_version"] == 1
    assert first["project"] == {"id": "assistants", "number": ""}
    assert set(first["carbon_footprint_kgCO2e"]) == {"scope1", "scope2", "scope3"}
    assert first["carbon_footprint_kgCO2e"]["scope1"] is None, "nobody measured it"


def test_aws_rows_are_one_per_project_region_and_month_in_tonnes() -> None:
    report = sample.sample()
    found = rows(report, "aws")
    keys = [(row["usage_account_id"], row["region_code"], row["usage_period_start"]) for row in found]
    assert len(keys) == len(set(keys))
    row = next(row for row in found if row["region_code"] == "de-central" and row["usage_account_id"] == "sweeps")
    assert float(row["total_lbm_emissions_value"]) == pytest.approx(7900 / 1e6)
    assert (row["total_mbm_emissions_value"], row["total_lbm_emissions_unit"]) == ("", "MTCO2e")
    assert (row["usage_period_start"], row["usage_period_end"]) == ("2026-11-01 00:00:00Z", "2026-12-01 00:00:00Z")


def test_parquet_keeps_types_and_names_with_units() -> None:
    report = sample.by_team()
    packed = FORMS["parquet"].write(report)
    assert isinstance(packed, bytes)
    found = parquet.read(packed)
    assert tuple(found[0]) == COLUMNS
    assert found[0]["submitted_at"] == report.jobs[0].submitted_at
    assert str(found[0]["carbon_cost"]) == "12.400000"
    assert found[-1]["name"] == "=cmd|'/c calc'!A1", "no spreadsheet runs a formula of a Parquet file"


def test_without_pyarrow_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match=r"pip install 'kilowait\[parquet\]'"):
        FORMS["parquet"].write(sample.sample())


START = datetime(2026, 10, 25, tzinfo=UTC)


def _series(value: float) -> IntensitySeries:
    hours = [START + timedelta(hours=n) for n in range(24 * 80)]
    slots = [Slot(at, at + timedelta(hours=1), value + n % 24) for n, at in enumerate(hours)]
    return IntensitySeries(zone=Zone("DE"), signal=Signal.parse("average/lifecycle"), source="test", slots=slots)


INTENSITY = {"aa": _series(100.0), "bb": _series(400.0)}
INTEGRALS = {name: Integral(series) for name, series in INTENSITY.items()}
PUE = {"aa": 1.1, "bb": 1.4}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 60 * 86_400), st.integers(1, 9 * 86_400), st.integers(0, 10**12), st.sampled_from("ab")
        ),
        max_size=8,
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati"]),
)
@example([(0, 604_801, 1, "a")], "UTC")
def test_the_parts_of_a_job_by_region_and_month_add_up_to_it(spans: list[tuple[int, int, int, str]], zone: str) -> None:
    intervals = [
        EnergyInterval(START + timedelta(seconds=a), START + timedelta(seconds=a + length), energy_mj, region * 2)
        for a, length, energy_mj, region in spans
    ]
    whole = emissions(intervals, intensity=INTENSITY, pue=PUE)
    drawn = Drawn(Course.of(intervals), whole, {})
    (parts,) = uses_of([drawn], intensity=INTEGRALS, pue=PUE, tariffs={}, clean={}, timezone=zone)
    assert sum(part.energy_kwh or 0.0 for part in parts) == pytest.approx(whole.energy_kwh, rel=1e-9)
    # A cut is made at a whole millijoule: that much energy may stand a month away from where it was drawn.
    dirtiest = max(abs(slot.g_per_kwh) for series in INTENSITY.values() for slot in series.slots) * max(PUE.values())
    cut_g = 2 * dirtiest / MJ_PER_KWH
    assert sum(part.carbon_g or 0.0 for part in parts) == pytest.approx(
        whole.carbon_g, rel=1e-9, abs=3 * len(intervals) * cut_g
    )
    assert len({(part.region, part.month) for part in parts}) == len(parts)


def test_gpus_that_were_held_without_a_reading_have_a_part_whose_energy_is_not_known() -> None:
    made = {("aa", "2026-11"): Range(1.0, 2.0, 3.0)}
    drawn = Drawn(Course.of([]), Emission(), made)
    ((part,),) = uses_of([drawn], intensity=INTEGRALS, pue=PUE, tariffs={}, clean={}, timezone="UTC")
    assert (part.energy_kwh, part.carbon_g, part.embodied_g) == (None, None, Range(1.0, 2.0, 3.0))


def test_a_job_with_energy_is_in_every_form_although_no_run_of_it_was_seen_to_run() -> None:
    (seen,) = [job for job in sample.jobs() if job.name == "llama-ft"]
    unseen = replace(seen, windows=(), runs=0)
    report = replace(sample.sample(), jobs=(unseen,), totals=totals_of([unseen]))
    (row,) = rows(report, "codecarbon")
    assert (float(row["emissions"]), row["region"], row["duration"], row["emissions_rate"]) == (4.1, "us-west", "", "")
    assert [group.name for group in groups_of([unseen], By.REGION)] == ["us-west"]


def test_the_making_of_gpus_is_the_same_in_every_form_and_a_total_without_a_part_is_not_known() -> None:
    first = sample.job("a", ("us-west", 1, 2), energy_kwh=2.0, carbon_g=1000.0, project="known")
    unread = Use("eu-north", "2026-11", None, None, Range(1.0, 500.0, 900.0))
    read = replace(first.uses[0], embodied_g=Range(1.0, 500.0, 900.0))
    job = replace(first, uses=(read, unread), embodied_g=Range(2.0, 1000.0, 1800.0))
    unknown = replace(first, id="j2", project="unknown")
    report = replace(sample.sample(), jobs=(job, unknown), totals=totals_of([job]))
    google = {
        (line["project"]["id"], line["location"]["region"]): flat(line)
        for line in map(json.loads, str(FORMS["google"].write(report)).splitlines())
    }
    scope3 = "carbon_footprint_kgCO2e.scope3"
    assert [line[scope3] for line in google.values()] == [0.5, 0.5, None], "by region, then of the second project"
    assert column(rows(report, "focus"), "x_CarbonEmbodiedGrams") == 500.0, "what was held unread is no charge"
    total = "carbon_footprint_total_kgCO2e.location_based"
    assert {place: line[total] for place, line in google.items()} == {
        ("known", "us-west"): 1.5,
        ("known", "eu-north"): None,
        ("unknown", "us-west"): None,
    }
    assert [row["region_code"] for row in rows(report, "aws")] == ["us-west", "us-west"]
