"""A job as it is kept: what was asked for, and the state the rules have brought it to."""

from __future__ import annotations

import secrets
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from .job import JobSpec
from .lifecycle import JobState
from .window import Utc

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread


class JobRecord(BaseModel):
    """`version` rises by one with every change and guards against two writers. `package` names the uploaded code.

    `user` is whose token it was submitted with.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    spec: JobSpec
    submitted_at: Utc
    home: str
    regions: tuple[str, ...]
    power_per_gpu_w: float
    state: JobState
    package: str | None = None
    user: str = ""
    version: int = 0

    @property
    def gpus(self) -> int:
        return self.spec.resources.gpus

    @property
    def power_kw(self) -> float:
        """IT power of the gang while it works, in kW."""
        return self.gpus * self.power_per_gpu_w / 1000


def new_job_id(now: datetime) -> str:
    """Sortable by time and unique: 9 characters of milliseconds, 8 of chance; letters and digits Ray accepts."""
    stamp = int(now.timestamp() * 1000)
    digits = ""
    for _ in range(9):
        stamp, rest = divmod(stamp, 32)
        digits = _ALPHABET[rest] + digits
    return digits + "".join(secrets.choice(_ALPHABET) for _ in range(8))
