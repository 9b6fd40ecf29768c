"""Bearer tokens: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.store.repository import Store


class Role(StrEnum):
    """ADMIN may do all; USER submits and looks; AGENT only posts readings."""

    ADMIN = "admin"
    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True)
class Caller:
    """Who calls: the name that the token was made for, and its role; an agent's may be bound to one node's readings."""

    name: str
    role: Role
    node: str | None = None


class Tokens:
    """Makes, checks and revokes tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, *, name: str, role: str, at: datetime, node: str | None = None) -> tuple[str, str]:
        """(id, secret) of a new token; the secret cannot be read again. Only an agent's token may name a node."""
        if role not in set(Role):
            raise BadInput(f"token: role {role!r} does not exist; use {', '.join(Role)}")
        if node is not None and role != Role.AGENT:
            raise BadInput(f"token: only an agent's token is bound to a node, not one of role {role}")
        id_, secret = secrets.token_hex(4), f"kw_{secrets.token_urlsafe(32)}"
        self._store.add_token(id_=id_, name=name, role=role, sha256=_hash(secret), at=at, node=node)
        return id_, secret

    def caller(self, secret: str) -> Caller | None:
        """Whose secret it is and what it grants, or None."""
        row = self._store.token(_hash(secret))
        return Caller(row.name, Role(row.role), row.node) if row else None

    def ensure_admin(self, path: Path, *, at: datetime) -> bool:
        """Write an admin token to `path` (mode 0600) unless one that works is there; whether it was written."""
        known = self.caller(path.read_text().strip()) if path.exists() else None
        if known is not None and known.role is Role.ADMIN:
            return False
        _, secret = self.make(name="admin", role=Role.ADMIN, at=at)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
        return True


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
