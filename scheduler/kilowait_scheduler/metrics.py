"""Prometheus figures of the server, computed from what is stored at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from kilowait_scheduler.core.ledger import UG_PER_G
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.core.tally import Quantity
from kilowait_scheduler.store.repository import Store


def exposition(store: Store) -> str:
    """The text a Prometheus scrape reads."""
    registry = CollectorRegistry()
    jobs = Gauge("kilowait_jobs", "Jobs by state", ["state"], registry=registry)
    counts = store.count_by_phase()
    for phase in Phase:
        jobs.labels(state=phase.value).set(counts.get(phase, 0))
    energy = Gauge("kilowait_energy_joules", "IT energy at the meters, by use", ["region", "use"], registry=registry)
    for line in store.region_energy():
        used = line.energy_mj - line.idle_mj - line.unattributed_mj
        for use, millijoules in (("jobs", used), ("idle", line.idle_mj), ("unattributed", line.unattributed_mj)):
            energy.labels(region=line.region, use=use).set(millijoules / 1000)
    registry.register(_Accounts(store))
    emitted = Gauge("kilowait_budget_emitted_grams", "Carbon charged to budgets", ["account"], registry=registry)
    for account, micrograms in store.balances("emitted:").items():
        emitted.labels(account=account.removeprefix("emitted:")).set(micrograms / UG_PER_G)
    return generate_latest(registry).decode()


_MJ_PER_J = 1000
_LABELS = ("team", "project", "region")
_MEANINGS = {
    Quantity.ENERGY_MJ: ("kilowait_account_energy_joules", "Facility energy of jobs", _MJ_PER_J),
    Quantity.CARBON_UG: ("kilowait_account_carbon_grams", "CO2e of jobs, location-based", UG_PER_G),
    Quantity.SAVED_UG: ("kilowait_account_saved_grams", "CO2e saved against run-now@1", UG_PER_G),
}


class _Accounts(Collector):
    """What jobs drew, emitted and saved, by whose they are and where; a fall is counted beside, so that none falls.

    The counts are older than this process, so they come without a time of creation.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        lines = self._store.tallies()
        for quantity, (name, what, per) in _MEANINGS.items():
            up = CounterMetricFamily(name, f"{what}, as it became known", labels=_LABELS)
            down = CounterMetricFamily(f"{name}_lowered", f"{what}: what was taken back; subtract it", labels=_LABELS)
            for line in lines:
                if line.quantity is quantity:
                    labels = (line.team, line.project, line.region)
                    up.add_metric(labels, line.tally.up / per)
                    down.add_metric(labels, line.tally.down / per)
            yield from (up, down)
