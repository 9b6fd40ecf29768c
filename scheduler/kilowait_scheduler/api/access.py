"""Who may call what: bearer tokens and roles."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.params import Depends as DependsMarker
from starlette.exceptions import HTTPException

from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.tokens import Caller, Role


async def server_of(request: Request) -> Server:
    """The server this app was made for; asynchronous, so that no thread is asked for it."""
    server: Server = request.app.state.server
    return server


ServerDep = Annotated[Server, Depends(server_of)]


def require(*roles: Role) -> DependsMarker:
    """A dependency that lets through only tokens with one of `roles`, and says who calls."""

    def check(server: ServerDep, authorization: Annotated[str | None, Header()] = None) -> Caller:
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise HTTPException(401, "a bearer token is needed: Authorization: Bearer ...")
        caller = server.tokens.caller(secret.strip())
        if caller is None:
            raise HTTPException(401, "this token is not known here (revoked, or of another server)")
        if caller.role not in roles:
            raise HTTPException(403, f"a {caller.role} token may not do this; it takes {' or '.join(roles)}")
        return caller

    marker: DependsMarker = Depends(check)
    return marker


CanLook = require(Role.USER, Role.ADMIN)
CanChange = require(Role.USER, Role.ADMIN)
CanAdmin = require(Role.ADMIN)
Reporter = Annotated[Caller, require(Role.AGENT, Role.ADMIN)]
