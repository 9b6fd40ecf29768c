"""A job as it is kept: what was asked for, and the state the rules have brought it to."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from .job import JobSpec
from .state import JobState, Run
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
    def sizes(self) -> tuple[int, ...]:
        """The numbers of GPUs it may run on, smallest first; one unless it is elastic."""
        return tuple(self.spec.resources.speeds)

    @property
    def elastic(self) -> bool:
        asked = self.spec.resources.gpus
        return not isinstance(asked, int) and asked.min < asked.max

    @property
    def gpus(self) -> int:
        """The number of GPUs asked for; of an elastic job the fewest on which it meets its deadline if begun at once.

        That is what it would have been given without us: its baseline runs on it.
        """
        asked = self.spec.resources.gpus
        return asked if isinstance(asked, int) else self._in_time[0]

    @property
    def best_size(self) -> int:
        """The one number of GPUs that needs least energy of those on which it meets its deadline if begun at once."""
        return min(self._in_time, key=lambda size: size / self.state.speed_on(size))

    @property
    def _in_time(self) -> tuple[int, ...]:
        """The numbers of GPUs on which it meets its deadline if begun at once; the fastest where none is enough."""
        ready = max(self.submitted_at, self.spec.earliest or self.submitted_at)
        room_s = (self.spec.due - ready) / timedelta(seconds=1)
        speeds = {size: self.state.speed_on(size) for size in self.sizes}
        enough = tuple(size for size in self.sizes if self.state.work_s <= room_s * speeds[size])
        return enough or (max(self.sizes, key=lambda size: speeds[size]),)

    def gpus_of(self, run: Run) -> int:
        """The number of GPUs that one of its runs holds."""
        return run.gpus if run.gpus is not None else self.gpus

    def power_kw(self, gpus: int) -> float:
        """IT power of a gang of that many GPUs while it works, in kW."""
        return gpus * self.power_per_gpu_w / 1000


def new_job_id(now: datetime) -> str:
    """Sortable by time and unique: 9 characters of milliseconds, 8 of chance; letters and digits Ray accepts."""
    stamp = int(now.timestamp() * 1000)
    digits = ""
    for _ in range(9):
        stamp, rest = divmod(stamp, 32)
        digits = _ALPHABET[rest] + digits
    return digits + "".join(secrets.choice(_ALPHABET) for _ in range(8))
