"""The pages in a real browser: nothing breaks, nothing is fetched from elsewhere, it fits narrow screens and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from kilowait_scheduler.reports.render import to_html
from kilowait_scheduler.service.tokens import Role
from reports import sample

pytestmark = pytest.mark.browser

Open = Callable[..., "Look"]


class Look:
    """A page, and everything the browser complained about or fetched."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: self.fetched.append(request.url))

    def _failed(self, request: Request) -> None:
        """Leaving a page ends what it was still fetching: that is no complaint."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}: {request.failure}")

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture
def look(browser: Browser) -> Iterator[Open]:
    contexts: list[BrowserContext] = []

    def open_(url: str, *, width: int = 1200, secret: str | None = None, **more: Any) -> Look:
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        if secret is not None:
            context.add_cookies([{"name": "kilowait_token", "value": secret, "url": url, "sameSite": "Strict"}])
        made = Look(context)
        made.page.goto(url)
        return made

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("make", [sample.sample, sample.empty, sample.nothing_measured, sample.many])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_report_opens_from_a_file_without_complaint_and_fits(
    look: Open, tmp_path: Path, make: Callable[[], Any], width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(make()), encoding="utf-8")
    seen = look(file.as_uri(), width=width)
    assert seen.complaints == []
    assert seen.fetched == [file.as_uri()]
    assert seen.overflow() == 0
    assert seen.page.locator("h1").inner_text() == "Savings report"


def test_the_reports_pictures_have_names_for_those_who_do_not_see_them(look: Open, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(sample.sample()), encoding="utf-8")
    page = look(file.as_uri()).page
    for name in ("Grid intensity and the windows in which jobs ran", "Carbon saved per job against run-now@1"):
        assert page.get_by_role("img", name=name).is_visible()


_TEXTS = """[...document.querySelectorAll('svg.picture text')].filter(e => e.getClientRects().length).map(e => {
  const text = e.getBoundingClientRect(), sheet = e.ownerSVGElement.getBoundingClientRect();
  const scale = sheet.width / e.ownerSVGElement.viewBox.baseVal.width;
  return [e.textContent, parseFloat(getComputedStyle(e).fontSize) * scale,
          Math.max(sheet.left - text.left, text.right - sheet.right, text.bottom - sheet.bottom)];
})"""


@pytest.mark.parametrize("make", [sample.by_team, sample.many])
@pytest.mark.parametrize("width", [360, 390, 600, 768, 820, 821, 1280])
def test_at_any_width_every_word_of_a_picture_is_legible_and_whole_and_a_phone_scrolls_nothing_sideways(
    look: Open, tmp_path: Path, make: Callable[[], Any], width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(make()), encoding="utf-8")
    page = look(file.as_uri(), width=width).page
    of = ".wide" if width <= 620 else ".wide:has(svg)"  # on a phone the rows of tables are cards
    scrolls = f"[...document.querySelectorAll('{of}')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(scrolls) == 0
    texts = page.evaluate(_TEXTS)
    assert len(texts) > 50
    assert [(words, size) for words, size, _ in texts if size < 8.5] == []
    assert [(words, over) for words, _, over in texts if over > 1] == []


def test_the_report_prints_on_paper_without_cutting_anything_off(look: Open, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(sample.sample()), encoding="utf-8")
    page = look(file.as_uri(), width=703, color_scheme="dark").page  # A4 less its margins, in CSS pixels
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = page.evaluate("[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length")
    assert cut == 0
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", ["/", "job", "/report", "/login"])
@pytest.mark.parametrize("width", [1200, 400])
def test_pages_load_without_complaint_fetch_only_from_here_and_fit(
    look: Open, site: Any, where: str, width: int, scheme: str
) -> None:
    path = f"/jobs/{site.running.id}" if where == "job" else where
    seen = look(site.address + path, width=width, secret=site.secrets[Role.USER], color_scheme=scheme)
    assert seen.complaints == []
    assert all(url.startswith(site.address) for url in seen.fetched)
    assert seen.overflow() == 0
    dark = seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 19)"
    assert dark == (scheme == "dark"), "the style sheet was applied"


def test_one_can_sign_in_read_a_job_and_sign_out(look: Open, site: Any) -> None:
    seen = look(f"{site.address}/jobs/{site.running.id}")
    page = seen.page
    page.get_by_label("Token").fill(site.secrets[Role.USER])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.address}/jobs/{site.running.id}")
    assert page.locator("h1").inner_text() == "mover"
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="nightly").click()
    assert page.locator("h1").inner_text() == "nightly"
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site.address}/login")
    page.goto(site.address)
    assert page.url.startswith(f"{site.address}/login")
    assert seen.complaints == []


def test_a_hostile_name_is_shown_and_not_run(look: Open, site: Any) -> None:
    seen = look(f"{site.address}/jobs/{site.hostile.id}", secret=site.secrets[Role.USER])
    seen.page.on("dialog", lambda dialog: seen.complaints.append(f"dialog: {dialog.message}"))
    assert seen.page.locator("h1").inner_text() == site.hostile.spec.name
    seen.page.goto(site.address)
    assert seen.complaints == []
