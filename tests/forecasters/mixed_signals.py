"""What must not pass the type checker: read by `test_signals_in_types`, run by nobody.

Each line that ends in `# refused` has to be an error, and no other.
"""

from __future__ import annotations

from datetime import datetime

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.providers.base import Provider
from kilowait_forecasters.providers.neso import Neso
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.watttime import WattTime
from kilowait_forecasters.signal import AVERAGE_DIRECT, MARGINAL_DIRECT, Marginal
from kilowait_scheduler.service.grid import Grid
from kilowait_scheduler.store.repository import Store


def asked(watttime: WattTime, neso: Neso, store: Store, grid: Grid) -> None:
    margin: Provider[Marginal] = watttime
    average: Provider = neso
    wrong: Provider = watttime  # refused
    wrong_too: Provider[Marginal] = neso  # refused
    Cascade({"GB": [neso]})
    Cascade({"GB": [watttime]})  # refused
    Cascade({"GB": [average]}, last_resorts=[margin])  # refused
    OwnForecasts({"GB": watttime})  # refused
    AVERAGE_DIRECT.require(MARGINAL_DIRECT)  # refused
    del wrong, wrong_too, store, grid


def joined(average: IntensitySeries, margin: IntensitySeries[Marginal], store: Store, now: datetime) -> None:
    average.extended(average)
    margin.extended(margin)
    average.extended(margin)  # refused
    margin.extended(average)  # refused
    store.add_realised(average, at=now)
    store.add_realised(margin, at=now)  # refused


def planned(forecast: Forecast, margin: Forecast[Marginal], store: Store, until: datetime) -> None:
    forecast.extended(margin, until=until)  # refused
    store.add_forecast(forecast)
    store.add_forecast(margin)  # refused


async def shown(grid: Grid, now: datetime) -> dict[str, Forecast]:
    view = await grid.marginal_view("GB", now=now)
    assert view.forecast is not None
    return {"GB": view.forecast}  # refused
