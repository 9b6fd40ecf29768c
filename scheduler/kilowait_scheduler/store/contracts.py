"""Contracted clean energy and residual mixes, and the load that they are set against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime

import numpy as np
from sqlalchemy import BigInteger, func, type_coerce
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.clean import CleanSupply, ResidualMix
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.errors import NotFound

from .tables import CleanSupplyRow, ResidualMixRow, ShareRow


class Contracts(ABC):
    """The part of the repository that deals in contracts for clean energy."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    def clean_supplies(self) -> list[CleanSupply]:
        """All contracts, by id."""
        with self.reading() as session:
            rows = session.exec(select(CleanSupplyRow).order_by(col(CleanSupplyRow.id))).all()
            return [CleanSupply.model_validate(row.record) for row in rows]

    def put_clean_supply(self, supply: CleanSupply) -> None:
        """Add a contract, or replace the one of the same id."""
        with self.writing() as session:
            session.merge(CleanSupplyRow(id=supply.id, record=supply.model_dump(mode="json")))

    def remove_clean_supply(self, id_: str) -> None:
        """Remove a contract. Raises NotFound."""
        with self.writing() as session:
            row = session.get(CleanSupplyRow, id_)
            if row is None:
                raise NotFound(f"no clean supply {id_!r}; `kilowait supply` lists them")
            session.delete(row)

    def residual_mixes(self) -> list[ResidualMix]:
        """All residual mixes, by region and start."""
        query = select(ResidualMixRow).order_by(col(ResidualMixRow.region), col(ResidualMixRow.start))
        with self.reading() as session:
            return [ResidualMix.model_validate(row.record) for row in session.exec(query).all()]

    def put_residual_mix(self, mix: ResidualMix) -> None:
        """Add a residual mix, or replace the one of the same region and start."""
        with self.writing() as session:
            session.merge(ResidualMixRow(region=mix.region, start=mix.start, record=mix.model_dump(mode="json")))

    def remove_residual_mix(self, region: str, *, start: datetime) -> None:
        """Remove the residual mix of a region that begins at `start`. Raises NotFound."""
        with self.writing() as session:
            row = session.get(ResidualMixRow, (region, start))
            if row is None:
                raise NotFound(f"no residual mix of {region!r} from {start:%Y-%m-%d}; `kilowait supply` lists them")
            session.delete(row)

    def region_load(self, region: str, *, start: datetime, end: datetime) -> Course:
        """What jobs used in a region, of intervals that touch [start, end), in order.

        Those with the same start and end, as of the GPUs of one node, are one row.
        """
        with self.reading() as session:
            query = (
                sql_select(
                    type_coerce(ShareRow.start, BigInteger),
                    type_coerce(ShareRow.end, BigInteger),
                    func.sum(ShareRow.energy_mj),
                )
                .where(col(ShareRow.region) == region, col(ShareRow.end) > start, col(ShareRow.start) < end)
                .group_by(col(ShareRow.start), col(ShareRow.end))
                .order_by(col(ShareRow.start), col(ShareRow.end))
            )
            rows = session.connection().execute(query).all()
        first, last, energy_mj = zip(*rows, strict=True) if rows else ((), (), ())
        count = len(rows)
        return Course(
            np.array(first, dtype=np.int64),
            np.array(last, dtype=np.int64),
            np.array(energy_mj, dtype=np.int64),
            np.zeros(count, dtype=np.int64),
            np.zeros(count),
            np.zeros(count, dtype=np.bool_),
            (region,),
        )
