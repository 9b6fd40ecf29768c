"""The same figures in every form, nothing hidden, nothing invented."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from kilowait_scheduler.reports.model import By, JobLine, Report
from kilowait_scheduler.reports.render import COLUMNS, to_csv, to_html, to_json
from kilowait_scheduler.reports.sums import groups_of
from reports import sample

EVERY = [sample.sample, sample.by_team, sample.empty, sample.nothing_measured, sample.losing, sample.small, sample.many]


class Page(HTMLParser):
    """Tags, the text of each job's row, the exact values in it, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[str]] = {}
        self.values: dict[str, list[float]] = {}
        self.text: list[str] = []
        self._row: str | None = None
        self._foot = False
        self._table: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "tr":
            self._row = given.get("data-job") or ("totals" if self._foot else None)
        if tag == "table":
            self._table = given.get("class")
        if tag in ("tfoot", "tbody"):
            self._foot = tag == "tfoot" and self._table == "jobs figured"
        if tag == "data" and self._row:
            self.values.setdefault(self._row, []).append(float(given["value"] or "nan"))

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._row:
            self.rows.setdefault(self._row, []).append(data.strip())

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def rows(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(report))))


def test_json_has_the_models_fields_and_iso_times_with_offset() -> None:
    report = sample.sample()
    read = json.loads(to_json(report))
    assert list(read) == [field.name for field in fields(Report)]
    assert list(read["jobs"][0]) == [field.name for field in fields(JobLine)]
    assert read["start"] == "2026-11-23T06:00:00+00:00"
    assert read["intensity"][0]["slots"][0][0] == "2026-11-23T06:00:00+00:00"
    assert read["jobs"][5]["windows"][-1]["end"] is None


def test_json_says_the_same_of_the_same_report() -> None:
    assert to_json(sample.sample()) == to_json(sample.sample())


def test_json_refuses_a_figure_that_is_not_a_number() -> None:
    report = sample.sample()
    broken = replace(report, totals=replace(report.totals, saved_g=float("nan")))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(broken)


def test_csv_has_one_row_per_job_under_names_with_units() -> None:
    report = sample.sample()
    found = rows(report)
    assert tuple(found[0]) == COLUMNS
    assert [row["job_id"] for row in found] == [job.id for job in report.jobs]
    assert found[1]["windows"] == (
        "us-west 2026-11-23T07:00:00+00:00/2026-11-23T09:30:00+00:00; "
        "eu-north 2026-11-23T15:00:00+00:00/2026-11-23T21:15:00+00:00"
    )
    assert found[5]["windows"].endswith("us-west 2026-11-25T12:00:00+00:00/"), "a run that goes on has no end"


def test_csv_never_hands_a_formula_to_a_spreadsheet() -> None:
    names = [row["name"] for row in rows(sample.sample())]
    assert "'=cmd|'/c calc'!A1" in names
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)


@pytest.mark.parametrize("make", EVERY)
def test_totals_are_the_same_in_json_csv_and_html(make: object) -> None:
    report = make()  # type: ignore[operator]
    read, found, page = json.loads(to_json(report)), rows(report), Page(to_html(report))
    full = [row for row in found if row["carbon_g"]]
    totals = read["totals"]
    for column, total in (
        ("energy_kwh", totals["energy_kwh"]),
        ("carbon_g", totals["carbon_g"]),
        ("baseline_carbon_g", totals["baseline_g"]),
        ("saved_g", totals["saved_g"]),
        ("uncertainty_g", totals["uncertainty_g"]),
        ("time_shift_g", totals["levers"]["time_shift_g"]),
        ("region_shift_g", totals["levers"]["region_shift_g"]),
        ("overheads_g", totals["levers"]["overheads_g"]),
    ):
        assert sum(float(row[column]) for row in full) == pytest.approx(total, rel=1e-12)
    assert len(found) - len(full) == totals["without_figures"]
    if full:
        assert page.values["totals"] == [
            totals["energy_kwh"],
            totals["carbon_g"],
            totals["baseline_g"],
            totals["saved_g"],
            totals["uncertainty_g"],
            *(grams for name, grams in totals["levers"].items() if name != "fixed_size_g"),
        ]


@pytest.mark.parametrize("make", EVERY)
def test_every_figure_of_every_job_is_the_same_in_csv_and_html(make: object) -> None:
    report = make()  # type: ignore[operator]
    page = Page(to_html(report))
    for row in rows(report):
        names = ("energy_kwh", "carbon_g", "baseline_carbon_g", "saved_g", "uncertainty_g", "time_shift_g")
        names += ("region_shift_g", "resizing_g", "overheads_g", "promised_saved_g", "ceiling_saved_g")
        assert page.values.get(row["job_id"], []) == [float(row[name]) for name in names if row[name]]


def test_what_is_not_known_is_empty_or_a_dash_and_never_a_zero() -> None:
    report = sample.sample()
    job = next(job for job in report.jobs if job.name == "no-agent-here")
    row = next(row for row in rows(report) if row["job_id"] == job.id)
    for column in ("energy_kwh", "carbon_g", "baseline_carbon_g", "saved_g", "saved_pct", "promised_saved_g"):
        assert row[column] == ""
    page = Page(to_html(report))
    cells = [cell for cell in page.rows[job.id] if cell]
    assert cells.count("–") == 10
    assert "0" not in cells
    assert "is an agent running in its region?" in page.words


def test_a_region_without_meters_shows_dashes_and_not_zeros() -> None:
    html = to_html(sample.sample())
    row = re.search(r'<th scope="row">us-east</th>(.*?)</tr>', html, re.S)
    assert row is not None
    assert row[1].count("–") == 3
    assert "no reading yet" in row[1]


def test_a_report_in_which_nothing_was_measured_claims_nothing() -> None:
    page = Page(to_html(sample.nothing_measured()))
    assert "no figures yet: none of the 3 jobs has both measured energy and a baseline" in page.words
    assert "totals" not in page.values
    assert "CO₂e saved" not in page.words


def test_the_page_says_whose_months_they_are() -> None:
    report = replace(sample.sample(), timezone="Europe/Berlin")
    begins = "from 23 Nov 2026 07:00 to 25 Nov 2026 19:00 in Europe/Berlin, whose months these are"
    assert f"{begins} (23 Nov 2026 06:00 to 25 Nov 2026 18:00 UTC)" in Page(to_html(report)).words
    assert "All times UTC." in Page(to_html(sample.sample())).words


def test_a_loss_is_the_headline_in_plain_sight() -> None:
    report = sample.losing()
    page = Page(to_html(report))
    assert "−1.47 kg CO₂e saved, a negative saving: these jobs emitted more, −18.8 % of the baseline" in page.words


@pytest.mark.parametrize(
    ("saved_g", "carbon_g", "shown"),
    [
        (-119_100.0, 2_299_600.0, ("−119.1 kg", "2 299.6 kg", "2 180.5 kg")),
        (-1.0, 2_299_600.0, ("−1.00 g", "2.30 t", "2.30 t")),
    ],
)
def test_what_is_subtracted_is_in_the_unit_of_what_is_left(
    saved_g: float, carbon_g: float, shown: tuple[str, ...]
) -> None:
    report = sample.losing()
    sums = replace(report.totals, saved_g=saved_g, carbon_g=carbon_g, baseline_g=carbon_g + saved_g)
    text = " ".join(Page(to_html(replace(report, totals=sums))).text)
    text = re.sub(r"\s+", " ", text)
    for figure, words in zip(shown, ("CO₂e", "emitted", "run-now@1 would have emitted"), strict=True):
        assert re.search(rf"{re.escape(figure)}\s*{re.escape(words)}", text), (figure, text[:700])


def test_an_interval_around_zero_is_said_to_prove_nothing() -> None:
    report = sample.small()
    unsure = replace(report, totals=replace(report.totals, uncertainty_g=2 * report.totals.saved_g))
    assert "The interval includes zero" in to_html(unsure)
    assert "The interval includes zero" not in to_html(report)


def test_an_empty_report_is_a_friendly_page() -> None:
    page = Page(to_html(sample.empty()))
    assert "No jobs in this period" in page.words
    assert "kilowait submit FILE" in page.words
    assert "svg" not in [tag for tag, _ in page.tags]


def test_simulated_energy_and_typical_days_are_loud() -> None:
    words = Page(to_html(sample.sample())).words
    assert "Simulated energy" in words
    assert "Typical-day intensity" in words
    for note in sample.sample().notes:
        assert note in words


def test_the_page_says_what_it_rests_on() -> None:
    words = Page(to_html(sample.sample())).words
    for word in ("average/lifecycle", "run-now@1", "slotwise@1", "levers@1", "electricity-maps", "nvml", "US-CAL-CISO"):
        assert word in words


@pytest.mark.parametrize("make", EVERY)
def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(make: object) -> None:
    page = Page(to_html(make()))  # type: ignore[operator]
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "img", "form"}
    for tag, given in page.tags:
        assert not any(name.startswith("on") for name in given), (tag, given)
        for name in ("src", "href", "action"):
            assert given.get(name, "data:,").startswith(("data:", "#")), (tag, given)
    assert "@import" not in to_html(sample.sample())
    assert "url(http" not in to_html(sample.sample())


@pytest.mark.parametrize("field", ["name", "team", "project", "why", "note"])
def test_what_users_write_stays_text(field: str) -> None:
    report = sample.sample()
    hostile = replace(report.jobs[0], **{field: sample.HOSTILE})
    html = to_html(replace(report, jobs=(hostile, *report.jobs[1:]), notes=(sample.HOSTILE,)))
    assert "<script" not in html.lower()
    assert "alert(" in html


@pytest.mark.parametrize("make", EVERY)
def test_pictures_are_well_formed_and_have_a_title_and_a_text_of_their_own(make: object) -> None:
    html = to_html(make())  # type: ignore[operator]
    ids: list[str] = []
    for drawn in re.findall(r"<svg.*?</svg>", html, re.S):
        root = ElementTree.fromstring(drawn)
        title, desc = root[0], root[1]
        assert title.text
        assert desc.text
        assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
        here = {element.get("id") for element in root.iter() if element.get("id")}
        ids += here
        used = set(re.findall(r"url\(#(.*?)\)", drawn))
        assert used <= here, "a pattern that is not defined would be drawn as nothing"
    assert len(ids) == len(set(ids))


def test_every_bar_of_many_jobs_is_drawn_or_counted() -> None:
    html = to_html(sample.many())
    assert "121 other jobs" in html
    assert "more windows, not drawn: see the table" in html


def test_of_very_many_teams_the_smallest_are_one_sum_and_all_are_in_the_table_with_their_sum() -> None:
    report = sample.many(300)
    lines = tuple(replace(job, team=f"team-{number % 200:03d}") for number, job in enumerate(report.jobs))
    groups = groups_of(lines, By.TEAM)
    html = to_html(replace(report, jobs=lines, by=By.TEAM, groups=groups))
    assert "171 other teams" in html
    table = re.search(r'<table class="groups figured">(.*?)</table>', html, re.S)
    assert table is not None
    assert len(re.findall(r'<th scope="row" class="any">team-', table[1])) == 200
    shown = [float(value) for value in re.findall(r'<data value="([^"]*)"', table[1].partition("<tfoot>")[2])]
    assert shown[:4] == [getattr(report.totals, name) for name in ("energy_kwh", "carbon_g", "baseline_g", "saved_g")]


def test_the_style_sheet_is_the_one_the_policy_allows() -> None:
    from kilowait_scheduler.reports.templating import style_source

    html = to_html(sample.sample())
    css = re.search(r"<style>(.*?)</style>", html, re.S)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html)
    assert css is not None
    assert policy is not None
    assert style_source(css[1]) in policy[1].replace("&#39;", "'").replace("&#x27;", "'")


def test_the_table_says_when_each_job_ran_as_the_picture_does() -> None:
    words = Page(to_html(sample.sample())).words
    assert "Ran us-west Mon 23 Nov 07:00 to 09:30 , eu-north Mon 23 Nov 15:00 to 21:15" in words
    assert "us-west Mon 23 Nov 20:00 to Tue 24 Nov 02:00" in words
    assert "us-west from Wed 25 Nov 12:00 on" in words


def test_promised_realised_and_possible_stand_together_and_an_even_grid_reads_little_to_gain() -> None:
    report = sample.by_team()
    text = " ".join(to_html(report).split())
    assert "Promised, realised, possible" in text
    assert "Little to gain here:" not in text
    assert report.totals.foresight is not None
    flat = replace(report.totals.foresight, ceiling_saved_g=90.0, ceiling_pct=1.1)
    assert "Little to gain here:" in to_html(replace(report, totals=replace(report.totals, foresight=flat)))
    first = next(row for row in rows(report) if row["job_id"] == report.jobs[0].id)
    assert (first["ceiling_saved_g"], first["ceiling_pct"], first["ceiling_note"]) == ("4600.0", "57.5", "")
    second = next(row for row in rows(report) if row["job_id"] == report.jobs[1].id)
    assert second["ceiling_saved_g"] == ""
    assert second["ceiling_note"] == "intensity is not known throughout its window in eu-north"
    assert "No ceiling: intensity is not known throughout its window in eu-north." in text
