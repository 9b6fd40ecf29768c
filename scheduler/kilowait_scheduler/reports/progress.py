"""How far a report is, for whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """What is being done for a report, and for how many of how many jobs it is done; `jobs` is 0 before it is known."""

    what: str = "reading jobs"
    done: int = 0
    jobs: int = 0

    def begin(self, what: str, jobs: int) -> None:
        """Something else, from the first job on."""
        self.what, self.done, self.jobs = what, 0, jobs
