"""Who may look at the pages: a cookie with a token, and the headers that keep a page to itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kilowait_scheduler.core.errors import BadInput, Conflict, KilowaitError, NotFound
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.tokens import Role

from .rendering import message

COOKIE = "kilowait_token"

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_STATUS: dict[type[KilowaitError], int] = {NotFound: 404, BadInput: 400, Conflict: 409}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def server_of(request: Request) -> Server:
    """The server this app was made for."""
    server: Server = request.app.state.server
    return server


class OpenPage(APIRoute):
    """A page anybody may see; its answers may neither be framed nor load anything from elsewhere."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def careful(request: Request) -> Response:
            try:
                response = await self.answer(request, handle)
            except KilowaitError as error:
                status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
                response = message(status, str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                response = message(400, f"{first['loc'][-1]}: {first['msg']}")
            response.headers.setdefault("Content-Security-Policy", _POLICY)
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Referrer-Policy", "same-origin")
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return careful

    async def answer(self, request: Request, handle: Handler) -> Response:
        return await handle(request)


class GuardedPage(OpenPage):
    """A page for those who have signed in; others are sent to the door and come back afterwards."""

    async def answer(self, request: Request, handle: Handler) -> Response:
        role = await run_in_threadpool(role_of, server_of(request), request.cookies.get(COOKIE, ""))
        if role is None:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            response: Response = RedirectResponse(f"/login?next={quote(wanted, safe='')}", status_code=303)
            if COOKIE in request.cookies:
                response.delete_cookie(COOKIE, samesite="strict", httponly=True)
            return response
        if role is Role.AGENT:
            return message(403, AGENTS_DO_NOT_LOOK)
        return await handle(request)


AGENTS_DO_NOT_LOOK = "An agent's token only reports energy; it may not look. Sign in with a user's or an admin's token."


def role_of(server: Server, secret: str) -> Role | None:
    """The role of a secret from a cookie or a form; None where it is unknown."""
    caller = server.tokens.caller(secret) if secret else None
    return caller.role if caller else None


def local_path(wanted: str) -> str:
    """`wanted` if it is a path on this server, else the overview: a link to the door must not lead elsewhere."""
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if ours else "/"


def sign_in(request: Request, *, secret: str, then: str) -> Response:
    """Set the cookie and go to where one wanted to go. It lasts as long as the browser's session."""
    response = RedirectResponse(local_path(then), status_code=303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure, path="/")
    return response


def sign_out(request: Request) -> Response:
    """Drop the cookie. A request from another site carries none, so it cannot sign anybody out."""
    response = RedirectResponse("/login", status_code=303)
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, samesite="strict", httponly=True)
    return response
