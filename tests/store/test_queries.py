"""What is asked of the database less often, and a list of all that it is asked: both databases answer the same."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.budget_request import RequestState
from kilowait_scheduler.core.clean import CleanSupply, ResidualMix
from kilowait_scheduler.core.energy import Readings
from kilowait_scheduler.core.errors import NotFound
from kilowait_scheduler.core.ledger import Entry, EntryKind, grant, hold, release
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.core.tally import JobValues, Quantity, Tally
from kilowait_scheduler.store.ledger import Booking, Books
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tallies import TallyLine

from .sample import HOUR, T0, reading, record

DAY = datetime(2026, 11, 23, tzinfo=UTC)


def test_every_question_that_the_store_answers_is_asked_on_both_databases() -> None:
    asked = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    names = {
        name
        for kind in (Store, Books, Booking)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    assert sorted(name for name in names if f".{name}(" not in asked) == []


def test_carbon_prices_are_kept_replaced_and_removed(store: Store) -> None:
    price = CarbonPrice(id="p", amount_per_t=Decimal("80.25"), currency="EUR", project="a", start=T0)
    store.put_carbon_price(price)
    store.put_carbon_price(price.model_copy(update={"amount_per_t": Decimal("90.10")}))
    assert [kept.amount_per_t for kept in store.carbon_prices()] == [Decimal("90.10")]
    assert store.carbon_prices()[0].start == T0
    store.remove_carbon_price("p")
    assert store.carbon_prices() == []
    with pytest.raises(NotFound):
        store.remove_carbon_price("p")


def test_contracts_and_residual_mixes_are_kept_replaced_and_removed(store: Store) -> None:
    supply = CleanSupply(id="wind", region="aa", start=DAY, end=DAY + 2 * HOUR, wh=(1000, 2000))
    store.put_clean_supply(supply)
    store.put_clean_supply(supply.model_copy(update={"wh": (5, 6)}))
    assert [kept.wh for kept in store.clean_supplies()] == [(5, 6)]
    store.remove_clean_supply("wind")
    with pytest.raises(NotFound):
        store.remove_clean_supply("wind")
    mixes = [
        ResidualMix(region=region, start=start, end=start + HOUR, g_per_kwh=500.0, source="x")
        for region, start in (("bb", DAY), ("aa", DAY + HOUR), ("aa", DAY))
    ]
    for mix in mixes:
        store.put_residual_mix(mix)
    store.put_residual_mix(mixes[2].model_copy(update={"g_per_kwh": 600.0}))
    kept = [(mix.region, mix.start, mix.g_per_kwh) for mix in store.residual_mixes()]
    assert kept == [("aa", DAY, 600.0), ("aa", DAY + HOUR, 500.0), ("bb", DAY, 500.0)]
    store.remove_residual_mix("aa", start=DAY)
    with pytest.raises(NotFound):
        store.remove_residual_mix("aa", start=DAY)


def test_a_region_s_load_counts_the_devices_of_one_interval_together_and_what_touches_the_span(store: Store) -> None:
    first, second = reading(1, mj=1000), reading(2, mj=2000)
    beside = reading(1, mj=400, agent="node-2")._replace(device_uuid="GPU-1")
    store.add_readings(Readings.of([first, second]), at=T0)
    store.add_readings(Readings.of([beside]), at=T0)
    assert store.nodes_of("node-1") == {"node"}
    assert store.nodes_of("nobody") == set()

    def load(region: str, start: datetime) -> list[tuple[datetime, datetime, int]]:
        found = store.region_load(region, start=start, end=second.end)
        return [(one.start, one.end, one.energy_mj) for one in found]

    whole = load("aa", first.start)
    assert whole == [(first.start, first.end, 750 + 300), (second.start, second.end, 1500)]
    assert load("aa", first.end) == whole[1:]
    assert load("bb", first.start) == []


def test_idle_power_is_of_devices_that_nobody_held(store: Store) -> None:
    idle = reading(1, mj=500_000)._replace(idle_mj=500_000, shares=())
    store.add_readings(Readings.of([idle, reading(2, mj=9_000_000)]), at=T0)
    span = {"start": T0, "end": T0 + HOUR}
    assert store.idle_power_w(["GPU-0"], **span) == pytest.approx(50.0)
    assert store.idle_power_w(["GPU-9"], **span) is None


def test_jobs_to_settle_have_not_ended_or_ended_lately_or_hold_something_still(store: Store) -> None:
    for job_id, phase, ended in (
        ("0a1", Phase.RUNNING, None),
        ("0a2", Phase.SUCCEEDED, T0),
        ("0a3", Phase.FAILED, T0 - timedelta(days=9)),
        ("0a4", Phase.SUCCEEDED, T0 - timedelta(days=9)),
    ):
        job = record(job_id, phase=phase)
        store.add_job(job.model_copy(update={"state": job.state.model_copy(update={"finished_at": ended})}))
    with store.booking() as books:
        books.post([hold("nlp", job_id="0a3", amount_ug=5, at=T0), hold("nlp", job_id="0a4", amount_ug=5, at=T0)])
        books.post([release("nlp", job_id="0a4", amount_ug=5, at=T0)])
    since = T0 - timedelta(days=7)
    assert [job.id for job in store.jobs_to_settle(finished_since=since)] == ["0a1", "0a2", "0a3"]


def charge(amount_ug: int, *, at: datetime, energy_mj: int | None = 7, job_id: str = "0a1") -> Entry:
    return Entry(
        kind=EntryKind.CHARGE,
        debit="held:nlp",
        credit="emitted:nlp",
        amount_ug=amount_ug,
        at=at,
        job_id=job_id,
        energy_mj=energy_mj,
    )


def correction(amount_ug: int, *, at: datetime) -> Entry:
    back = {"kind": EntryKind.CORRECTION, "debit": "emitted:nlp", "credit": "budget:nlp"}
    return charge(amount_ug, at=at).model_copy(update=back)


def test_flows_charges_and_what_left_a_window_are_summed_by_the_database(store: Store) -> None:
    later = T0 + 10 * HOUR
    entries = [
        *grant("nlp", amount_ug=100, at=T0),
        hold("nlp", job_id="0a1", amount_ug=60, at=T0),
        charge(20, at=T0),
        charge(15, at=later, energy_mj=9),
        correction(25, at=later),
    ]
    with store.booking() as books:
        books.post(entries)
    with store.books() as books:
        flows = books.flows(["nlp"])
        assert flows[EntryKind.CHARGE, "held:nlp", "emitted:nlp"] == 35
        assert books.flows(["nlp"], before=later)[EntryKind.CHARGE, "held:nlp", "emitted:nlp"] == 20
        assert books.flows(["other"]) == {}
        assert sorted(books.emitted_entries(["nlp"], since=T0)) == [(T0, 20), (later, -25), (later, 15)]
        assert books.emitted_entries(["nlp"], since=later + HOUR) == []
        last = books.last_charge("0a1")
        assert last is not None
        assert (last.amount_ug, last.energy_mj) == (25, 7)
        assert books.last_charge("0a9") is None
        gone = books.gone("nlp", before=later)
        assert gone[EntryKind.CORRECTION, "emitted:nlp", "budget:nlp"] == 10, "taken back of the days that left"
        assert gone[EntryKind.CHARGE, "held:nlp", "emitted:nlp"] == 20
    with store.booking() as books:
        books.put_budget(Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=1.0))
        assert [budget.id for budget in books.budgets()] == ["nlp"]
        books.note("nlp-2026-11", 50.0, at=T0)
        books.note("nlp-2026-11", 80.0, at=later)
        number = books.add_request(budget_id="nlp", amount_g=5.0, why="w", asked_by="a", asked_at=T0)
        more = books.add_request(budget_id="nlp", amount_g=6.0, why="w", asked_by="b", asked_at=T0)
        asked = books.request(number)
        decided = {"state": RequestState.REFUSED, "decided_by": "c", "decided_at": later}
        books.decide(asked.model_copy(update=decided))
    with store.books() as books:
        assert books.notices(["nlp-2026-11", "x"]) == {"nlp-2026-11": {50.0: T0, 80.0: later}}
        assert [request.id for request in books.requests()] == [number, more]
        assert [request.id for request in books.requests(state=RequestState.OPEN)] == [more]
        assert books.request(number).decided_at == later
        with pytest.raises(NotFound):
            books.request(99)


def test_counters_are_summed_by_team_project_region_and_quantity(store: Store) -> None:
    def known(job_id: str, value: int, quantity: Quantity = Quantity.CARBON_UG) -> JobValues:
        return JobValues(job_id, "t", "p", {("aa", quantity): value})

    for job_id in ("0a1", "0a2"):
        store.add_job(record(job_id))
    store.tally([known("0a1", 10), known("0a2", 2**40, Quantity.ENERGY_MJ), known("0a2", 5)])
    store.tally([known("0a1", 7)])
    assert store.tallies() == [
        TallyLine("t", "p", "aa", Quantity.CARBON_UG, Tally(15, 3)),
        TallyLine("t", "p", "aa", Quantity.ENERGY_MJ, Tally(2**40, 0)),
    ]


def series(start: datetime, *values: float, estimated: bool = False) -> IntensitySeries:
    slots = [Slot(start + HOUR * i, start + HOUR * (i + 1), value, estimated) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("DE"), signal=AVERAGE_LIFECYCLE, source="s", slots=slots)


def test_archived_forecasts_are_found_by_when_they_were_issued_and_became_available(store: Store) -> None:
    signal = AVERAGE_LIFECYCLE
    for hours in (0, 1, 6):
        issued = T0 + hours * HOUR
        curve = series(issued, 100.0 + hours, 200.0)
        store.add_forecast(Forecast(Zone("DE"), signal, issued, issued, curve, (Part(issued, "s"),)))
    numbers = store.forecast_numbers("DE", signal=signal, start=T0, end=T0 + HOUR)
    assert [at for at, _ in numbers] == [T0, T0 + HOUR]
    issued_at, source, found = store.forecast(numbers[1][1])
    assert (issued_at, source, found.slots[0].g_per_kwh) == (T0 + HOUR, "s", 101.0)
    span = {"start": T0, "end": T0 + 24 * HOUR, "every": 6 * HOUR}
    assert [at for at, _ in store.forecasts_issued("DE", signal=signal, **span)] == [T0, T0 + 6 * HOUR]
    assert store.forecasts_issued("FR", signal=signal, **span) == []


def test_the_span_of_what_is_kept_of_a_zone_and_when_it_was_last_asked_for(store: Store) -> None:
    store.add_realised(series(T0, 1.0, 2.0), at=T0 + 5 * HOUR)
    store.add_realised(series(T0 + 2 * HOUR, 3.0), at=T0 + 9 * HOUR)
    seen = store.realised_seen("DE", signal=AVERAGE_LIFECYCLE, since=T0)
    assert seen == (T0, T0 + 3 * HOUR, T0 + 5 * HOUR)
    assert store.realised_seen("DE", signal=AVERAGE_LIFECYCLE, since=T0 + 3 * HOUR) is None
