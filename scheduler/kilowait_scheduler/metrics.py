"""Prometheus figures of the server, computed from what is stored at the moment of asking."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

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
    _count(store, registry)
    emitted = Gauge("kilowait_budget_emitted_grams", "Carbon charged to budgets", ["account"], registry=registry)
    for account, micrograms in store.balances("emitted:").items():
        emitted.labels(account=account.removeprefix("emitted:")).set(micrograms / UG_PER_G)
    return generate_latest(registry).decode()


_MJ_PER_J = 1000


def _count(store: Store, registry: CollectorRegistry) -> None:
    """What jobs drew, emitted and saved, by whose they are and where; a fall is counted beside, so that none falls."""
    labels = ("team", "project", "region")
    meanings = {
        Quantity.ENERGY_MJ: ("kilowait_account_energy_joules", "Facility energy of jobs", _MJ_PER_J),
        Quantity.CARBON_UG: ("kilowait_account_carbon_grams", "CO2e of jobs, location-based", UG_PER_G),
        Quantity.SAVED_UG: ("kilowait_account_saved_grams", "CO2e saved against run-now@1", UG_PER_G),
    }
    counters = {
        quantity: (
            Counter(name, f"{what}, as it became known", labels, registry=registry),
            Counter(f"{name}_lowered", f"{what}: what was taken back; subtract it", labels, registry=registry),
            per,
        )
        for quantity, (name, what, per) in meanings.items()
    }
    for line in store.tallies():
        up, down, per = counters[line.quantity]
        values = {"team": line.team, "project": line.project, "region": line.region}
        up.labels(**values).inc(line.tally.up / per)
        down.labels(**values).inc(line.tally.down / per)
