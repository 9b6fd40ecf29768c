"""Prometheus figures of the server, computed from what is stored at the moment of asking."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from kilowait_scheduler.core.ledger import UG_PER_G
from kilowait_scheduler.core.state import Phase
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
    emitted = Gauge("kilowait_budget_emitted_grams", "Carbon charged to budgets", ["account"], registry=registry)
    for account, micrograms in store.balances("emitted:").items():
        emitted.labels(account=account.removeprefix("emitted:")).set(micrograms / UG_PER_G)
    return generate_latest(registry).decode()
