"""What the API answers: jobs, plans, regions, forecasts as JSON shapes, units in the names."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from kilowait_forecasters.signal import K
from kilowait_scheduler.core.job import JobSpec
from kilowait_scheduler.core.money import Money, energy_cost, price_of
from kilowait_scheduler.core.reasons import explained
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.dispatch.reconciler import RegionHealth
from kilowait_scheduler.planner.explain import Explanation, Option
from kilowait_scheduler.service.admission import Proposal
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.grid import ZoneView


def _masked(spec: JobSpec) -> JobSpec:
    """The job as asked for, without the values of its environment variables: people put secrets there."""
    variables = spec.runtime_env.get("env_vars")
    if not isinstance(variables, dict):
        return spec
    masked = {**spec.runtime_env, "env_vars": dict.fromkeys(variables, "***")}
    return spec.model_copy(update={"runtime_env": masked})


class RunShape(BaseModel):
    n: int
    region: str
    gpus: int
    state: str
    submission_id: str
    started_at: datetime | None
    ended_at: datetime | None
    detail: str


class JobShape(BaseModel):
    """A job as people see it. `windows` are planned; `runs` really happened."""

    id: str
    name: str
    state: str
    reason: str
    why: str
    want: str
    team: str
    project: str
    home: str
    regions: list[str]
    gpus: int
    submitted_at: datetime
    deadline: datetime
    finished_at: datetime | None
    work_s: float
    done_s: float
    windows: list[Window]
    runs: list[RunShape]
    forecast_g: float | None
    run_now_g: float | None
    spec: JobSpec

    @classmethod
    def of(cls, record: JobRecord) -> JobShape:
        state = record.state
        promise = state.promise
        return cls(
            id=record.id,
            name=record.spec.name,
            state=state.phase.value,
            reason=state.reason.value,
            why=explained(state.reason, state.detail),
            want=state.want.value,
            team=record.spec.team,
            project=record.spec.project,
            home=record.home,
            regions=list(record.regions),
            gpus=record.gpus,
            submitted_at=record.submitted_at,
            deadline=record.spec.due,
            finished_at=state.finished_at,
            work_s=state.work_s,
            done_s=state.done_s,
            windows=list(state.windows),
            runs=[
                RunShape(
                    n=run.n,
                    region=run.region,
                    gpus=record.gpus_of(run),
                    state=run.phase.value,
                    submission_id=run.submission_id,
                    started_at=run.started_at,
                    ended_at=run.ended_at,
                    detail=run.detail,
                )
                for run in state.runs
            ],
            forecast_g=promise.carbon_g if promise else None,
            run_now_g=promise.run_now_g if promise else None,
            spec=_masked(record.spec),
        )


class ExplanationShape(BaseModel):
    """What binds a plan, what giving way would buy, how sure its start is, carbon by deadline; grams on forecast."""

    binding: str | None
    relaxed: list[dict[str, Any]]
    next_best: dict[str, Any] | None
    run_now: dict[str, Any] | None
    start_p50: datetime | None
    start_p90: datetime | None
    saved_p10_g: float | None
    saved_p90_g: float | None
    curve: list[dict[str, Any]]

    @classmethod
    def of(cls, found: Explanation) -> ExplanationShape:
        return cls(
            binding=found.binding,
            relaxed=[
                {"constraint": r.constraint, "how": r.how, "saves_g": r.saves_g, **_option(r.option)}
                for r in found.relaxed
            ],
            next_best=_option(found.next_best) if found.next_best else None,
            run_now=_option(found.run_now) if found.run_now else None,
            start_p50=found.start_p50,
            start_p90=found.start_p90,
            saved_p10_g=found.saved_p10_g,
            saved_p90_g=found.saved_p90_g,
            curve=[
                {"deadline": due, **(_option(option) if option else {"carbon_g": None})} for due, option in found.curve
            ],
        )


def _option(option: Option) -> dict[str, Any]:
    return {
        "carbon_g": option.carbon_g,
        "start": option.start,
        "end": option.end,
        "regions": list(option.regions),
    }


class PlanShape(BaseModel):
    """What would be done with a job: windows, and carbon on the current forecast against running now at home."""

    name: str
    deadline: datetime
    windows: list[Window]
    reason: str
    why: str
    energy_kwh: float
    carbon_g: float
    carbon_p90_g: float
    run_now_g: float
    saved_g: float
    saved_pct: float | None
    energy_cost: Money | None
    carbon_cost: Money | None
    run_now_carbon_cost: Money | None
    forecasts: list[dict[str, Any]]
    explanation: ExplanationShape | None = None

    @classmethod
    def of(cls, proposal: Proposal, server: Server, *, explanation: Explanation | None = None) -> PlanShape:
        decision, record = proposal.decision, proposal.record
        regions = {region.name: region for region in server.store.regions()}
        price = price_of(server.store.carbon_prices(), project=record.spec.project, at=record.submitted_at)
        kwh = ((_facility_kwh(window, record, regions[window.region]), window) for window in decision.windows)
        zones = {region.zone for region in regions.values() if region.name in record.regions}
        return cls(
            name=record.spec.name,
            deadline=record.spec.due,
            windows=list(decision.windows),
            reason=decision.reason.value,
            why=explained(decision.reason, decision.detail),
            energy_kwh=decision.energy_kwh,
            carbon_g=decision.carbon_g,
            carbon_p90_g=decision.carbon_p90_g,
            run_now_g=decision.run_now_g,
            saved_g=proposal.saved_g,
            saved_pct=100 * proposal.saved_g / decision.run_now_g if decision.run_now_g > 0 else None,
            energy_cost=energy_cost((amount, regions[window.region].tariff) for amount, window in kwh),
            carbon_cost=price.of(decision.carbon_g) if price is not None else None,
            run_now_carbon_cost=price.of(decision.run_now_g) if price is not None else None,
            forecasts=[source_of(server.grid.view(zone), now=server.clock.now()) for zone in sorted(zones)],
            explanation=ExplanationShape.of(explanation) if explanation is not None else None,
        )


def _facility_kwh(window: Window, record: JobRecord, region: Region) -> float:
    """Energy at the facility's meter while the job works in a window."""
    return record.power_kw(window.gpus) * (window.duration / timedelta(hours=1)) * region.pue


def source_of(view: ZoneView[K], *, now: datetime) -> dict[str, Any]:
    """Where a zone's numbers come from, how old they are, and who did not answer."""
    forecast = view.forecast
    answered = [attempt for attempt in view.attempts if attempt.error]
    return {
        "zone": view.zone,
        "source": forecast.source if forecast else None,
        "signal": str(forecast.signal) if forecast else None,
        "issued_at": forecast.issued_at.isoformat() if forecast else None,
        "age_s": forecast.age(now).total_seconds() if forecast else None,
        "notes": sorted({part.note for part in forecast.parts if part.note}) if forecast else [],
        "problem": view.problem or None,
        "skill": asdict(view.skill) if view.skill else None,
        "failed": [f"{attempt.provider}: {attempt.error}" for attempt in answered],
    }


def forecast_shape(view: ZoneView[K], *, now: datetime) -> dict[str, Any]:
    """A zone's forecast from now on, with its band where there is one."""
    shape = source_of(view, now=now)
    forecast = view.forecast
    slots: list[dict[str, Any]] = []
    if forecast is not None:
        for slot in forecast.series.slots:
            if slot.end <= now:
                continue
            low = forecast.low.mean(slot.start, slot.end) if forecast.low else None
            high = forecast.high.mean(slot.start, slot.end) if forecast.high else None
            slots.append(
                {
                    "start": slot.start.isoformat(),
                    "end": slot.end.isoformat(),
                    "g_per_kwh": slot.g_per_kwh,
                    "p10_g_per_kwh": low,
                    "p90_g_per_kwh": high,
                    "estimated": slot.estimated,
                    "source": forecast.part_at(slot.start).source,
                }
            )
    return {**shape, "now": now.isoformat(), "slots": slots}


def health_shape(health: RegionHealth | None) -> dict[str, Any]:
    """What the last round saw of a region's cluster."""
    if health is None:
        return {"status": "not asked yet"}
    if health.problem:
        return {"status": "unreachable", "problem": health.problem, "asked_at": health.at.isoformat()}
    info = health.info
    assert info is not None
    return {
        "status": "ok",
        "asked_at": health.at.isoformat(),
        "ray_version": info.ray_version,
        "session_name": info.session_name,
        "gpus_total": info.gpus_total,
        "gpus_used": info.gpus_used,
        "orphans": list(health.orphans),
    }


def intensity_now(view: ZoneView, *, now: datetime) -> float | None:
    """The forecast's value for this moment in g/kWh; None where there is none."""
    if view.forecast is None or not view.forecast.series.covers(now, now + timedelta(microseconds=1)):
        return None
    return view.forecast.series.at(now)


def region_view(region: Region, record: JobRecord, server: Server) -> dict[str, Any]:
    """A region as a job sees it: may it run there, how clean is it now and in the planned windows, is it reachable."""
    view = server.grid.view(region.zone)
    series = view.forecast.series if view.forecast else None
    windows = [window for window in record.state.windows if window.region == region.name]
    return {
        "region": region.name,
        "zone": region.zone,
        "allowed": region.name in record.regions,
        "home": region.name == record.home,
        "now_g_per_kwh": intensity_now(view, now=server.clock.now()),
        "in_windows_g_per_kwh": [
            series.mean(w.start, w.end) if series and series.covers(w.start, w.end) else None for w in windows
        ],
        "source": view.forecast.source if view.forecast else None,
        "cluster": health_shape(server.control.health.get(region.name)),
    }
