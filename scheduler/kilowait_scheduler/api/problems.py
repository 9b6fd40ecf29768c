"""Errors as RFC 9457 problem documents: one line for a person in `detail`, a machine reason where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kilowait_scheduler.core.errors import BadInput, Conflict, KilowaitError, NotFound, OtherRelease, Refused
from kilowait_scheduler.core.job import problem_words
from kilowait_scheduler.dispatch.executor import UnknownRun

_STATUS: dict[type[KilowaitError], tuple[int, str]] = {
    BadInput: (400, "bad input"),
    OtherRelease: (426, "upgrade required"),
    NotFound: (404, "not found"),
    Conflict: (409, "conflict"),
    Refused: (422, "refused"),
    UnknownRun: (404, "not found"),
}


def problem(
    status: int, title: str, detail: str, *, reason: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An `application/problem+json` answer."""
    body: dict[str, str | int] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if reason is not None:
        body["reason"] = reason
    more = {**(headers or {}), **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=more)


def install(app: FastAPI) -> None:
    """Answer every error of ours, of FastAPI and of Starlette as a problem document."""

    @app.exception_handler(KilowaitError)
    async def _ours(_request: Request, error: Exception) -> JSONResponse:
        status, title = next(
            (found for kind, found in _STATUS.items() if isinstance(error, kind)), (503, "unavailable")
        )
        reason = error.reason.value if isinstance(error, Refused) else None
        return problem(status, title, str(error), reason=reason)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(400, "bad input", f"{where}: {problem_words(first)}")

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase.lower()
        return problem(error.status_code, title, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def _bug(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "internal error", "the server failed on this request; its log says why")
