"""Pages from templates, and the one style sheet they all wear."""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from fastapi.responses import HTMLResponse

from kilowait_scheduler.reports.templating import environment, style


def page(name: str, *, status: int = 200, **context: object) -> HTMLResponse:
    """A template of this package as an answer."""
    template = environment(__package__).get_template(name)
    return HTMLResponse(template.render(css=stylesheet_path(), **context), status_code=status)


def message(status: int, words: str) -> HTMLResponse:
    """A page that says in one sentence why there is no other."""
    return page("message.html", status=status, title=HTTPStatus(status).phrase, words=words)


def static(name: str) -> str:
    """A file of ours as text."""
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


@cache
def stylesheet() -> str:
    """The report's sheets, so that pictures look the same everywhere, and the pages' own."""
    return style("base.css", "pictures.css") + "\n" + static("pages.css")


def stylesheet_path() -> str:
    """Its path, which changes with its content, so that browsers may keep it."""
    return f"/static/{hashlib.sha256(stylesheet().encode()).hexdigest()[:12]}.css"
