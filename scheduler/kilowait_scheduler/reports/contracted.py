"""The contracts that a report's market-based figures rest on, and the load that they were shared among."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from kilowait_scheduler.core.clean import HOUR, Clean, CleanSupply, ResidualMix, cover

from .cells import csv_text


@dataclass(frozen=True)
class Contracted:
    """`load_kwh`: facility kWh of all jobs, whoever's, by region and hour: every hour that a figure depends on.

    It has each region that has a supply or a residual mix, and no other.
    """

    supplies: Sequence[CleanSupply]
    residual: Sequence[ResidualMix]
    load_kwh: Mapping[str, Mapping[datetime, float]]

    @cached_property
    def clean(self) -> dict[str, Clean]:
        """What is covered, by region."""
        return {
            region: cover(
                load,
                supplies=[supply for supply in self.supplies if supply.region == region],
                residual=[mix for mix in self.residual if mix.region == region],
            )
            for region, load in self.load_kwh.items()
        }

    def notes(self, *, now: datetime) -> list[str]:
        """What one has to know to read the market-based figures."""
        said = []
        mixed = {mix.region for mix in self.residual}
        if unmixed := sorted({supply.region for supply in self.supplies} - mixed):
            said.append(
                f"{', '.join(unmixed)}: no residual mix is configured; in market-based figures, what no contract "
                "covers counts by the grid's own intensity."
            )
        if running := sorted(supply.id for supply in self.supplies if not supply.hourly and supply.end > now):
            said.append(
                f"{', '.join(running)}: a volume whose span is not over covers less of each hour as more is drawn; "
                "market-based figures in it are provisional until then."
            )
        return said

    def files(self) -> dict[str, str]:
        """As evidence, by file name; hourly supply only of the hours in which something was drawn."""
        if not self.load_kwh:
            return {}
        return {
            "loads.csv": csv_text(("region", "hour", "load_kwh"), self._loads()),
            "supplies.csv": csv_text(("supply", "region", "start", "end", "hourly", "kwh"), self._supplies()),
            "residual_mixes.csv": csv_text(
                ("region", "start", "end", "g_per_kwh", "source"),
                (mix.model_dump() for mix in self.residual),
            ),
        }

    def _loads(self) -> Iterator[dict[str, object]]:
        for region, load in sorted(self.load_kwh.items()):
            for hour, kwh in sorted(load.items()):
                yield {"region": region, "hour": hour, "load_kwh": kwh}

    def _supplies(self) -> Iterator[dict[str, object]]:
        for supply in self.supplies:
            known = {"supply": supply.id, "region": supply.region, "hourly": supply.hourly}
            if not supply.hourly:
                yield {**known, "start": supply.start, "end": supply.end, "kwh": supply.wh[0] / 1000}
                continue
            for hour in sorted(self.load_kwh.get(supply.region, ())):
                if supply.holds(hour):
                    yield {**known, "start": hour, "end": hour + HOUR, "kwh": supply.kwh(hour)}
