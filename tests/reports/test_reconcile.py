"""A cloud's carbon export beside our books: what differs has a name where the data show one, and adds up."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from kilowait_scheduler.core.clean import MarketBased
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.reports.bill import Shape, read_bill
from kilowait_scheduler.reports.cloud import AWS_COLUMNS, accounts
from kilowait_scheduler.reports.formats import FORMS
from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.reports.reconcile import Comparison, Reconciliation, reconcile
from reports import sample

from .test_formats import reports

REPORT = sample.sample()


def exported(form: str, report: Report = REPORT) -> bytes:
    text = FORMS[form].write(report)
    assert isinstance(text, str)
    return text.encode()


def compared(content: bytes, report: Report = REPORT, **options: object) -> Reconciliation:
    given = {"account_names": {}, "region_names": {}, "month": None, "tolerance_pct": 5.0, **options}
    return reconcile(read_bill(content, timezone=report.timezone), report, **given)  # type: ignore[arg-type]


def aws(*rows: dict[str, object]) -> bytes:
    """An export of AWS's with the sample's account of `assistants` in us-west, each row changed as said."""
    first = next(csv.DictReader(io.StringIO(exported("aws").decode())))
    assert (first["usage_account_id"], first["region_code"]) == ("assistants", "eu-north")
    out = io.StringIO()
    writer = csv.DictWriter(out, AWS_COLUMNS)
    writer.writeheader()
    writer.writerows({**first, **row} for row in rows)
    return out.getvalue().encode()


def ours() -> float:
    """What our books have in the account, region and month of those rows, in g."""
    return next(a.carbon_g for a in accounts(REPORT) if (a.project, a.region) == ("assistants", "eu-north"))


def only(found: Reconciliation) -> Comparison:
    (one,) = [one for one in found.comparisons if (one.account, one.region) == ("assistants", "eu-north")]
    return one


@settings(max_examples=40, deadline=None)
@given(reports())
def test_our_own_export_reconciles_with_our_books_and_nothing_is_unexplained(report: Report) -> None:
    if not accounts(report):
        return
    for form in ("aws", "google", "google-csv"):
        names = {"'=sum(a1)": "=sum(a1)"}
        found = compared(exported(form, report), report, account_names=names)
        assert {part.name for one in found.comparisons for part in one.parts} <= {
            "scope 3 (hardware and buildings), in theirs alone"
        }
        for one in found.comparisons:
            assert sum(part.g for part in one.parts) == pytest.approx(one.difference_g, abs=1e-6)
        if form == "aws":
            assert found.exceeding == 0


def test_what_only_one_side_has_is_named_so(tmp_path: object) -> None:
    found = compared(aws({"usage_account_id": "123456789012"}))
    sides = {(one.account, one.region): one.parts[0].name for one in found.comparisons}
    assert sides["123456789012", "eu-north"] == "only in theirs"
    assert sides["assistants", "us-west"] == "only in ours"
    assert any("--account THEIRS=OURS" in note for note in found.notes)
    mapped = compared(aws({"usage_account_id": "123456789012"}), account_names={"123456789012": "assistants"})
    assert only(mapped).parts == ()


@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (1e3, "unit: theirs is 1,000 times ours"),
        (1e-3, "unit: ours is 1,000 times theirs"),
        (1 / 1.08, "PUE: theirs is ours without the region's PUE of 1.08"),
        (1.37, "unexplained"),
    ],
)
def test_a_difference_is_named_by_what_it_is_to_a_thousandth_and_else_unexplained(factor: float, name: str) -> None:
    one = only(compared(aws({"total_lbm_emissions_value": ours() * factor / 1e6})))
    assert [part.name for part in one.parts] == [name]
    assert one.parts[0].g == pytest.approx(ours() * (factor - 1))


def test_a_unit_that_the_file_states_is_converted() -> None:
    row = {"total_lbm_emissions_value": ours() / 1e3, "total_lbm_emissions_unit": "kgCO2e"}
    assert only(compared(aws(row))).parts == ()


def test_a_market_based_figure_in_a_location_based_column_is_named() -> None:
    uses = tuple(replace(use, market_based=MarketBased(0.5 * (use.carbon_g or 0))) for use in REPORT.jobs[4].uses)
    jobs = tuple(replace(job, uses=uses if job is REPORT.jobs[4] else ()) for job in REPORT.jobs)
    report = replace(REPORT, jobs=jobs)
    (own,) = accounts(report)
    assert (own.project, own.region) == ("assistants", "eu-north") and own.market_based is not None
    market_t = own.market_based.carbon_g / 1e6
    row = {"total_lbm_emissions_value": market_t, "total_mbm_emissions_value": market_t}
    located, market = compared(aws(row), report).comparisons
    assert (located.method, market.method) == ("location", "market")
    assert [part.name for part in located.parts] == ["method: what they call location-based is ours market-based"]
    assert market.parts == ()


def test_rows_of_several_products_are_one_account() -> None:
    half = {"total_lbm_emissions_value": ours() / 2e6}
    assert only(compared(aws({**half, "product_code": "AmazonEC2"}, {**half, "product_code": "AmazonS3"}))).parts == ()


def test_scope_3_in_awss_newer_models_is_named_with_our_own_estimate() -> None:
    made = Range(100.0, 200.0, 300.0)
    jobs = tuple(replace(job, uses=tuple(replace(use, embodied_g=made) for use in job.uses)) for job in REPORT.jobs)
    report = replace(REPORT, jobs=jobs)
    count = sum(use.region == "eu-north" and job.project == "assistants" for job in jobs for use in job.uses)
    content = aws({"model_version": "v3.0.0", "total_lbm_emissions_value": (ours() + 200.0 * count + 5) / 1e6})
    one = only(compared(content, report))
    assert [(part.name.split(";")[0], part.estimated) for part in one.parts] == [
        ("scope 3 in their total", True),
        ("unexplained", False),
    ]
    assert one.parts[1].g == pytest.approx(5.0, abs=1e-6)
    older = only(compared(aws({"model_version": "v2.0.0", "total_lbm_emissions_value": (ours() + 5) / 1e6}), report))
    assert [part.name for part in older.parts] == ["unexplained"]


def test_googles_scopes_are_told_apart() -> None:
    record = {
        "usage_month": "2026-11-01",
        "project": {"id": "assistants", "number": "1"},
        "location": {"region": "eu-north"},
        "carbon_model_version": "13",
        "carbon_footprint_kgCO2e": {
            "scope1": 0.5,
            "scope2": {"location_based": ours() / 1000, "market_based": 0.0},
            "scope3": 2.0,
        },
        "carbon_footprint_total_kgCO2e": {"location_based": ours() / 1000 + 2.5, "market_based": 2.5},
    }
    one = only(compared(json.dumps(record).encode()))
    assert [(part.name.split(" (")[0].split(",")[0], round(part.g)) for part in one.parts] == [
        ("scope 1", 500),
        ("scope 3", 2000),
    ]
    assert "their model: 13" in one.notes


def test_a_month_alone_is_compared_where_asked_for() -> None:
    content = aws({}, {"usage_period_start": "2026-10-01 00:00:00Z", "usage_period_end": "2026-11-01 00:00:00Z"})
    assert {one.month for one in compared(content).comparisons} == {"2026-10", "2026-11"}
    assert {one.month for one in compared(content, month="2026-11").comparisons} == {"2026-11"}
    assert compared(content, month="2025-01").notes == ("The file has no row of 2025-01.",)


def test_awss_parquet_and_gzip_are_read() -> None:
    import pyarrow
    from pyarrow import parquet

    rows = list(csv.DictReader(io.StringIO(exported("aws").decode())))
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    assert read_bill(out.getvalue()) == read_bill(exported("aws")) == read_bill(gzip.compress(exported("aws")))
    assert read_bill(exported("aws")).shape is Shape.AWS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file has no rows"),
        (b"a,b\n1,2\n", "line 2: these are not the columns of an AWS or a Google export: a, b"),
        (b"\xff\xfe", "line 1: not UTF-8 text"),
        (b"PAR1junk", "not a Parquet file"),
        (b"\x1f\x8bjunk", "a gzip file that cannot be unpacked"),
        (b'{"usage_month": 1\n', "line 1: not JSON"),
        (b'{"usage_month":"2026-11-01","project":{"id":"a"}}\n[]\n', "line 2: a list"),
        (b'{"usage_month":"November","project":{"id":"a"}}\n', "line 1: usage_month is 'November'; write e.g."),
        (aws({"total_lbm_emissions_value": "12,5"}), "line 2: total_lbm_emissions_value is '12,5'; write a number"),
        (aws({"total_lbm_emissions_value": "nan"}), "line 2: total_lbm_emissions_value is 'nan'; write a number"),
        (aws({}, {"total_lbm_emissions_unit": "lb"}), "line 3: total_lbm_emissions_unit is 'lb'; write MTCO2e"),
        (
            aws({"usage_period_end": "2027-01-01"}),
            "line 2: 2026-11-01 00:00 to 2027-01-01 00:00 is no span within one month",
        ),
        (aws({"usage_account_id": ""}), "line 2: usage_account_id is empty"),
        (aws({}) + b"x,y\n", "line 3: 2 cells under 13 column names"),
        (b"a,a\n1,2\n", "line 1: a column name is there twice"),
    ],
)
def test_what_cannot_be_read_gets_one_line_with_its_place_and_how_to_mend_it(content: bytes, said: str) -> None:
    with pytest.raises(BadInput) as error:
        read_bill(content)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_another_shape_than_asked_for_is_refused() -> None:
    with pytest.raises(BadInput, match="not the columns of the google export"):
        read_bill(exported("aws"), shape=Shape.GOOGLE)


def test_a_job_without_figures_is_said_where_it_would_count() -> None:
    one = only(compared(aws({})))
    assert "1 of our jobs here have no figures yet" in one.notes


@pytest.mark.parametrize("project", ["-x", "@team", "=1+1", "+a", "'quoted"])
@pytest.mark.parametrize("form", ["aws", "google-csv"])
def test_our_own_csv_is_reconciled_whatever_the_project_is_called(project: str, form: str) -> None:
    job = replace(next(job for job in REPORT.jobs if job.uses), project=project)
    report = replace(REPORT, jobs=(job,))
    found = compared(exported(form, report), report)
    assert {(one.account, one.difference_g) for one in found.comparisons} == {(project, 0.0)}


def test_no_cause_is_named_for_what_is_the_same_to_a_thousandth() -> None:
    market = replace(REPORT.jobs[0].uses[0], market_based=MarketBased(REPORT.jobs[0].carbon_g or 0.0))
    job = replace(REPORT.jobs[0], uses=(market,))
    regions = tuple(replace(region, pue=1.0008) for region in REPORT.regions)
    report = replace(REPORT, jobs=(job,), regions=regions)
    (row,) = csv.DictReader(io.StringIO(exported("aws", report).decode()))
    row["total_lbm_emissions_value"] = str(float(row["total_lbm_emissions_value"]) * 1.0005)
    location, _ = compared(_table(row), report).comparisons
    assert [part.name for part in location.parts] == ["unexplained"]


def test_a_figure_that_only_some_of_their_rows_have_says_so() -> None:
    found = only(compared(aws({}, {"total_lbm_emissions_value": ""})))
    assert "1 of their 2 rows here have no such figure" in found.notes


def test_a_file_without_one_figure_is_not_passed_over_in_silence() -> None:
    found = compared(b"usage_month,project.id\n2026-01-01,x\n")
    assert found.comparisons == ()
    assert any("nothing was compared" in note for note in found.notes)


def _table(row: dict[str, str]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, row)
    writer.writeheader()
    writer.writerow(row)
    return out.getvalue().encode()
