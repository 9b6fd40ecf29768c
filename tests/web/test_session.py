"""Who may look, and what keeps a page to itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from kilowait_scheduler.service.tokens import Role
from kilowait_scheduler.web.session import local_path

PAGES = ["/", "/report", "/jobs/whatever", "/report?team=nlp"]


@pytest.mark.parametrize("path", PAGES)
def test_without_a_token_every_page_sends_one_to_the_door_and_remembers_where_one_was_going(
    site: Any, path: str
) -> None:
    answer = site.visitor().get(path)
    assert answer.status_code == 303
    there = httpx.URL(answer.headers["location"])
    assert there.path == "/login"
    assert there.params["next"] == path
    assert "kilowait" not in answer.text.lower()


@pytest.mark.parametrize("path", PAGES)
def test_a_token_that_is_not_known_opens_nothing_and_is_dropped(site: Any, path: str) -> None:
    client = site.visitor(secret="kw_wrong")
    answer = client.get(path)
    assert answer.status_code == 303
    assert 'kilowait_token="";' in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", PAGES)
def test_an_agents_token_may_not_look(site: Any, path: str) -> None:
    answer = site.signed_in(Role.AGENT).get(path)
    assert answer.status_code == 403
    assert "may not look" in answer.text
    assert site.done.spec.name not in answer.text


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
def test_signing_in_with_a_token_that_may_look_leads_to_where_one_was_going(site: Any, role: Role) -> None:
    client = site.visitor()
    answer = client.post("/login", data={"token": f" {site.secrets[role]}\n", "next": "/report"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/report")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie, "over plain http the browser would not send it back"
    assert client.get("/").status_code == 200


def test_over_https_the_cookie_only_travels_encrypted(site: Any) -> None:
    client = site.visitor(https=True)
    answer = client.post("/login", data={"token": site.secrets[Role.USER]})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"token": "kw_wrong"}, 401, "not known here"),
        ({"token": ""}, 401, "not known here"),
        ({}, 401, "not known here"),
        ({"token": "x" * 20_000}, 413, "too long"),
    ],
)
def test_a_token_that_opens_nothing_is_refused_with_a_reason(
    site: Any, form: dict[str, str], status: int, words: str
) -> None:
    answer = site.visitor().post("/login", data=form)
    assert answer.status_code == status
    assert words in answer.text
    assert "set-cookie" not in answer.headers
    assert "kw_wrong" not in answer.text


def test_an_agents_token_does_not_open_the_door(site: Any) -> None:
    client = site.visitor()
    answer = client.post("/login", data={"token": site.secrets[Role.AGENT]})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_body_that_is_no_form_is_refused_like_a_wrong_token(site: Any) -> None:
    answer = site.visitor().post("/login", content=b"\xff\xfe\x00")
    assert answer.status_code == 401


def test_another_site_can_neither_sign_anybody_in_nor_out(site: Any) -> None:
    client = site.visitor()
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    answer = client.post("/login", data={"token": site.secrets[Role.USER]}, headers=elsewhere)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    # A request from elsewhere comes without the cookie, because it is SameSite=Strict; so there is nothing to drop.
    assert "set-cookie" not in client.get("/logout", headers=elsewhere).headers


def test_signing_out_drops_the_cookie(site: Any) -> None:
    client = site.signed_in()
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert 'kilowait_token="";' in answer.headers["set-cookie"]
    client.cookies.clear()
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\nSet-Cookie: x=1",
        "x",
    ],
)
def test_the_door_leads_nowhere_but_here(site: Any, wanted: str) -> None:
    assert local_path(wanted) == "/"
    client = site.visitor()
    answer = client.post("/login", data={"token": site.secrets[Role.USER], "next": wanted})
    assert answer.headers["location"] == "/"
    assert "evil" not in client.get("/login", params={"next": wanted}).text


def test_the_door_leads_back_to_pages_with_questions() -> None:
    assert local_path("/report?team=nlp&start=2026-11-01T00:00:00Z") == "/report?team=nlp&start=2026-11-01T00:00:00Z"


@pytest.mark.parametrize("path", ["/", "/login", "/report", "/jobs/nothing", "/static/icon.svg"])
def test_every_answer_forbids_scripts_framing_sniffing_and_outside_things(site: Any, path: str) -> None:
    answer = site.signed_in().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_are_not_kept_by_caches_and_the_style_sheet_is(site: Any) -> None:
    client = site.signed_in()
    page = client.get("/")
    assert page.headers["cache-control"] == "no-store"
    path = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    sheet = site.visitor().get(path)
    assert sheet.status_code == 200
    assert sheet.headers["content-type"].startswith("text/css")
    assert "immutable" in sheet.headers["cache-control"]


def test_the_api_does_not_take_the_cookie(site: Any) -> None:
    assert site.signed_in().get("/api/v1/jobs").status_code == 401


def test_pages_are_not_part_of_the_api_description(site: Any) -> None:
    paths = site.visitor().get("/api/v1/openapi.json").json()["paths"]
    assert all(path.startswith("/api/v1/") for path in paths)


def test_a_revoked_token_stops_working_at_once(site: Any) -> None:
    id_, secret = site.world.server.tokens.make(name="short", role="user", at=site.world.now)
    client = site.visitor(secret=secret)
    assert client.get("/").status_code == 200
    site.world.server.store.remove_token(id_)
    assert client.get("/").status_code == 303


async def test_many_who_look_at_once_share_one_report(site: Any) -> None:
    from kilowait_scheduler.web.saved import SavedSoFar

    now = [0.0]
    saved = SavedSoFar(site.world.server, fresh_s=10, monotonic=lambda: now[0])
    reports = await asyncio.gather(*(saved.report() for _ in range(5)))
    assert len({id(report) for report in reports}) == 1
    now[0] = 9.0
    assert await saved.report() is reports[0]
    now[0] = 11.0
    later = await saved.report()
    assert later is not None
    assert later is not reports[0]


async def test_a_page_does_not_wait_for_a_report_that_takes_too_long(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kilowait_scheduler.web import saved as module

    release = asyncio.Event()
    real = module.savings

    async def slow(server: Any, **span: object) -> Any:
        await release.wait()
        return await real(server, **span)

    monkeypatch.setattr(module, "savings", slow)
    saved = module.SavedSoFar(site.world.server, patience_s=0.01)
    assert await saved.report() is None
    assert "still being made" in saved.problem
    release.set()
    patient = saved
    patient._patience_s = 20.0
    assert await patient.report() is not None


async def test_a_report_that_takes_long_to_make_is_shown_for_longer(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kilowait_scheduler.web import saved as module

    now, real = [0.0], module.savings

    async def slow(server: Any, **span: object) -> Any:
        now[0] += 30.0
        return await real(server, **span)

    monkeypatch.setattr(module, "savings", slow)
    saved = module.SavedSoFar(site.world.server, fresh_s=10, monotonic=lambda: now[0])
    first = await saved.report()
    now[0] += 590.0
    assert await saved.report() is first
    now[0] += 11.0
    assert await saved.report() is not first


async def test_a_report_that_fails_is_told_and_tried_again(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kilowait_scheduler.web import saved as module

    real = module.savings

    async def broken(server: Any, **span: object) -> Any:
        raise RuntimeError("the provider went away")

    monkeypatch.setattr(module, "savings", broken)
    saved = module.SavedSoFar(site.world.server)
    assert await saved.report() is None
    assert "the provider went away" in saved.problem
    monkeypatch.setattr(module, "savings", real)
    assert await saved.report() is not None


async def test_who_waits_for_a_report_is_told_how_far_it_is_and_then_given_it(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kilowait_scheduler.reports.progress import Progress
    from kilowait_scheduler.service.reporting import Asked
    from kilowait_scheduler.web.making import Making

    release, begun, real = asyncio.Event(), [], site.world.server.reporting.savings
    loop = asyncio.get_running_loop()

    async def slow(asked: Any, *, progress: Progress) -> Any:
        begun.append(asked)
        progress.begin("reading energy", 7)
        progress.done = 3
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(release.wait(), loop))
        return await real(asked, progress=progress)

    monkeypatch.setattr(site.world.server.reporting, "savings", slow)
    making = Making(site.world.server, patience_s=0.2)
    told = await making.report(Asked())
    assert isinstance(told, Progress)
    assert (told.what, told.done, told.jobs) == ("reading energy", 3, 7)
    assert await making.report(Asked()) is told, "who asks again waits for the same report"
    release.set()
    making._patience_s = 20.0
    found = await making.report(Asked())
    assert not isinstance(found, Progress)
    assert told.done == told.jobs > 0, "it counted to the end"
    assert await making.report(Asked()) is found, "two were told to come back, and both get what they waited for"
    assert len(begun) == 1
    assert await making.report(Asked(team="nobody")) is not await making.report(Asked(team="nobody")), "at once: anew"


def test_the_page_of_a_report_in_the_making_shows_its_share_and_comes_back(site: Any) -> None:
    from kilowait_scheduler.reports.progress import Progress
    from kilowait_scheduler.web.rendering import page

    shown = bytes(page("making.html", progress=Progress("reading energy", 2300, 10_000)).body).decode()
    assert "2,300 of 10,000 jobs" in shown
    assert 'http-equiv="refresh"' in shown
    assert "of 0 jobs" not in bytes(page("making.html", progress=Progress()).body).decode()
