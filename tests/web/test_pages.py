"""What the pages say."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.reasons import Reason, explained, sentence
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.web import overview
from kilowait_scheduler.web.journal import entries, told
from kilowait_scheduler.web.phrases import relative, spoken


def words(text: str) -> str:
    """The text of a page without its tags, spaces made one."""
    bare = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", text, flags=re.S)
    return " ".join(html.unescape(bare).split())


def row(text: str, name: str) -> str:
    """The words of the table row that begins with `name`."""
    found = next(part for part in re.findall(r"<tr>.*?</tr>", text, re.S) if words(part).startswith(name))
    return words(found)


@pytest.fixture(scope="module")
def front(site: Any) -> str:
    answer = site.signed_in().get("/")
    assert answer.status_code == 200
    text: str = answer.text
    return text


def test_the_overview_gives_every_living_job_its_state_and_the_sentence_why(site: Any, front: str) -> None:
    for record in (site.running, site.waiting, site.held):
        state = site.world.job(record.id).state
        line = row(front, record.spec.name)
        assert state.phase.value in line
        assert sentence(state.reason) in line
        assert f'href="/jobs/{record.id}"' in front
    assert "raise the limit" in row(front, "fold"), "a held job says what would let it go"


def test_the_overview_shows_next_window_progress_and_time_left(site: Any, front: str) -> None:
    state = site.world.job(site.waiting.id).state
    line = row(front, "nightly")
    first = state.windows[0]
    assert first.region in line
    assert f"{first.start:%H:%M}" in line
    assert relative(first.start, now=site.world.now) in line
    assert "3 h of work" in line
    assert "29 h left" in line
    running = row(front, "mover")
    assert re.search(r"\d+ min of 6 h", running)


def test_a_running_job_is_credited_with_what_its_live_run_has_got_through(site: Any) -> None:
    record = site.world.job(site.running.id)
    live = record.state.live_run
    assert live is not None
    ran = (site.world.now - live.started_at).total_seconds()
    assert overview.progress_of(record.state, now=site.world.now) == pytest.approx(ran / (6 * 3600))


def test_every_region_shows_intensity_now_forecast_source_and_cluster(site: Any, front: str) -> None:
    for region in site.world.server.store.regions():
        part = front.split(f'aria-label="Region {region.name}"')[1].split("</section>")[0]
        said = words(part)
        now = site.world.server.grid.view(region.zone).forecast.series.at(site.world.now)
        assert f"{now:.0f} g/kWh now" in said
        assert region.zone in said
        assert "GPUs in use" in said
        drawn = re.search(r"<svg.*?</svg>", part, re.S)
        assert drawn is not None
        ElementTree.fromstring(drawn[0])


def test_a_typical_day_is_not_passed_off_as_a_forecast(front: str) -> None:
    part = words(front.split('aria-label="Region us-east"')[1].split("</section>")[0])
    assert "typical-day" in part
    assert "typical day of that month, not a forecast" in part
    assert "issued" not in part
    other = words(front.split('aria-label="Region de"')[1].split("</section>")[0])
    assert "replay:DE" in other


def test_planned_windows_are_drawn_in_their_regions_picture(site: Any, front: str) -> None:
    region = site.world.job(site.waiting.id).state.windows[0].region
    part = front.split(f'aria-label="Region {region}"')[1].split("</section>")[0]
    assert "nightly" in part
    assert 'class="planned"' in part


def test_the_overview_shows_saved_so_far_with_its_interval_and_the_months_budgets(front: str) -> None:
    said = words(front)
    assert "saved so far" in said
    assert "run-now@1 (±" in said
    assert "Simulated energy" in said
    assert "Budgets" in said
    line = row(front, "bio")
    assert "team bio" in line
    assert "hard" in line


def test_jobs_that_ended_lately_are_there_with_what_they_saved(front: str) -> None:
    lately = front.split("Ended lately")[1]
    assert "urgent-eval" in lately
    assert "succeeded" in lately


def test_pages_that_can_change_renew_themselves_and_others_do_not(site: Any, front: str) -> None:
    assert '<meta http-equiv="refresh" content="10">' in front
    client = site.signed_in()
    assert "refresh" in client.get(f"/jobs/{site.waiting.id}").text
    assert 'http-equiv="refresh"' not in client.get(f"/jobs/{site.done.id}").text


@pytest.mark.parametrize("path", ["/", "/report", "job"])
def test_what_users_write_stays_text_on_every_page(site: Any, path: str) -> None:
    answer = site.signed_in().get(f"/jobs/{site.hostile.id}" if path == "job" else path)
    assert answer.status_code == 200
    assert "<script" not in answer.text.lower()
    assert "&lt;script&gt;alert(" in answer.text


def test_no_page_has_inline_styles_or_handlers_its_policy_would_refuse(site: Any, front: str) -> None:
    for text in (front, site.signed_in().get(f"/jobs/{site.running.id}").text, site.visitor().get("/login").text):
        assert not re.search(r"<[^>]+ (style|on\w+)=", text)
        assert "<style" not in text
        assert "<script" not in text
        assert not re.search(r'(src|href|action)="(https?:)?//', text)


def test_a_jobs_page_tells_its_reason_plan_runs_and_journal(site: Any) -> None:
    record = site.world.job(site.running.id)
    answer = site.signed_in().get(f"/jobs/{record.id}")
    said = words(answer.text)
    assert answer.status_code == 200
    assert explained(record.state.reason, record.state.detail) in said
    assert record.state.runs[0].submission_id in said
    assert "run through at home" in said
    assert "Its window opened: run 1 in se." in said
    assert "The cluster says: run 1 running." in said
    assert "python train.py" in said
    for window in record.state.windows:
        assert f"{window.end:%H:%M}" in said
    ElementTree.fromstring(re.search(r"<svg.*?</svg>", answer.text, re.S)[0])  # type: ignore[index]


def test_an_ended_jobs_page_shows_its_figures_and_no_plan(site: Any) -> None:
    said = words(site.signed_in().get(f"/jobs/{site.done.id}").text)
    assert "saved against run-now@1" in said
    assert "deadline, met" in said
    assert "Plan " not in said.split("Journal")[0].split("Runs")[0].split("Where it could run")[1]


def test_a_job_can_be_looked_up_by_its_name(site: Any) -> None:
    assert site.running.id in site.signed_in().get("/jobs/mover").text


def test_a_job_that_does_not_exist_is_a_page_that_says_so(site: Any) -> None:
    answer = site.signed_in().get("/jobs/<b>nope")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "no job" in answer.text
    assert "<b>nope" not in answer.text


def test_the_report_is_the_self_contained_page_with_its_own_policy(site: Any) -> None:
    answer = site.signed_in().get("/report")
    assert answer.status_code == 200
    assert "<h1>Savings report</h1>" in answer.text
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]


def test_the_report_can_be_of_one_team_or_one_period(site: Any) -> None:
    client = site.signed_in()
    assert "0 jobs submitted" in words(client.get("/report", params={"team": "nobody"}).text)
    later = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-02T00:00:00Z"}
    assert "No jobs in this period" in client.get("/report", params=later).text


@pytest.mark.parametrize("start", ["yesterday", "2026-11-23T00:00:00"])
def test_a_period_that_cannot_be_read_is_refused_in_words(site: Any, start: str) -> None:
    answer = site.signed_in().get("/report", params={"start": start})
    assert answer.status_code == 400
    assert "start" in answer.text


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=40), "40 s"),
        (timedelta(minutes=12, seconds=20), "12 min"),
        (timedelta(minutes=59, seconds=50), "1 h"),
        (timedelta(hours=5, minutes=20), "5 h 20 min"),
        (timedelta(hours=47, minutes=59, seconds=40), "2 d"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (-timedelta(hours=2), "2 h"),
    ],
)
def test_spans_are_told_in_their_two_largest_units(span: timedelta, said: str) -> None:
    assert spoken(span) == said


def test_every_kind_of_event_has_a_sentence(site: Any) -> None:
    record = site.world.job(site.running.id)
    at = site.world.now
    window = Window(region="de", start=at, end=at + timedelta(hours=1), gpus=1)
    happened: list[ev.Event] = [
        ev.Planned(at=at, windows=(window, window), reason=Reason.WAITING_FOR_WINDOW, detail="until noon"),
        ev.Planned(at=at, windows=(), reason=Reason.CAPACITY_TAKEN),
        ev.Held(at=at, reason=Reason.BUDGET_EXHAUSTED, detail="5 kg missing"),
        ev.Ticked(at=at),
        ev.Submitted(at=at, run=1),
        ev.SubmitFailed(at=at, run=1, permanent=True, detail="too large"),
        ev.SubmitFailed(at=at, run=1, permanent=False, detail="no route"),
        ev.SubmitUnclear(at=at, run=1, detail="timeout"),
        ev.StopSent(at=at, run=1),
        ev.NeverStarted(at=at, run=1),
        ev.Observed(at=at, run=1, status=ev.Status.FAILED, detail="exit 1"),
        ev.Missing(at=at, run=1, new_session=True),
        ev.Missing(at=at, run=1, new_session=False),
        ev.Unreachable(at=at, run=1, detail="no route"),
        ev.SuspendWanted(at=at),
        ev.ResumeWanted(at=at),
        ev.CancelWanted(at=at),
    ]
    kinds = {type(event) for event in happened}
    assert kinds == set(ev.Event.__args__[0].__args__), "a new kind of event needs a sentence"  # type: ignore[attr-defined]
    sentences = [told(event, record) for event in happened]
    assert all(line.endswith((".", "1", "noon", "route", "timeout", "large", "missing")) for line in sentences), (
        sentences
    )
    assert len(set(sentences)) == len(sentences)
    assert "Until noon." in sentences[0]


def test_plans_that_change_nothing_are_one_line_of_the_journal(site: Any) -> None:
    record = site.world.job(site.waiting.id)
    at = site.world.now
    window = Window(region="de", start=at + timedelta(hours=3), end=at + timedelta(hours=5), gpus=1)
    again = [
        ev.Planned(at=at + timedelta(hours=n), windows=(window,), reason=Reason.WAITING_FOR_WINDOW, detail=f"{n}")
        for n in range(3)
    ]
    other = ev.Planned(at=at, windows=(window,), reason=Reason.CAPACITY_TAKEN)
    told_ = entries([*again, other], record)
    assert [(entry.again, entry.last) for entry in told_] == [(2, at + timedelta(hours=2)), (0, None)]
