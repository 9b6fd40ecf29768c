"""The rules against model clusters that fail in every way we know: what must hold after any sequence of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.events import EVENT, Instruction, Status
from kilowait_scheduler.core.lifecycle import Policy, handle
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.state import JobState, Phase, RunPhase, Want
from kilowait_scheduler.core.window import Window

T0 = datetime(2026, 11, 23, tzinfo=UTC)
POLICY = Policy()
TICK = timedelta(seconds=20)
REGIONS = ("aa", "bb")
Mood = Literal["well", "refuses", "drops", "takes", "takes late", "rejects"]


@dataclass
class Process:
    """A run that a cluster really has: from `began` it draws breath until `died`."""

    name: str
    region: str
    session: int
    status: Status = Status.PENDING
    began: datetime | None = None
    died: datetime | None = None
    stop: bool = False


@dataclass
class Cluster:
    mood: Mood = "well"
    session: int = 0
    processes: dict[str, Process] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    under_way: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def reachable(self) -> bool:
        return self.mood in ("well", "rejects")


@dataclass
class Model:
    """One job, two clusters, a control loop that may crash between any two steps."""

    state: JobState
    now: datetime = T0
    journal: list[ev.Event] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=lambda: {name: Cluster() for name in REGIONS})
    everyone: list[Process] = field(default_factory=list)
    last: ev.Event | None = None

    # The server's side.

    def tell(self, event: ev.Event) -> list[Instruction]:
        before = self.state
        self.state, instructions = handle(before, event, POLICY)
        if self.state != before:
            self.journal.append(event)
        self.last = event
        self.check(before, event, instructions)
        return instructions

    def check(self, before: JobState, event: ev.Event, instructions: list[Instruction]) -> None:
        state = self.state
        if before.phase.final:
            assert state == before, "what has ended stays as it ended"
            assert instructions == []
        assert sum(run.phase.live for run in state.runs) <= 1
        assert [run.n for run in state.runs] == list(range(1, len(state.runs) + 1))
        assert len({run.submission_id for run in state.runs}) == len(state.runs)
        assert all(new.submission_id == old.submission_id for new, old in zip(state.runs, before.runs, strict=False))
        assert 0 <= state.done_s <= state.work_s
        starts = [i for i in instructions if isinstance(i, ev.StartRun)]
        if starts:
            assert state.want is Want.RUN, "nothing starts that is to pause or to end"
            assert state.live_run is not None
            assert starts == [ev.StartRun(run=state.live_run.n)]
            assert state.live_run.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN)
        for run in state.runs[len(before.runs) :]:
            lost = [r.ended_at for r in state.runs if r.phase is RunPhase.LOST and r.n < run.n and r.ended_at]
            assert all(run.created_at >= at + POLICY.fence for at in lost), "a lost run may still draw breath"
        if isinstance(event, ev.Ticked):
            self.check_level_triggered(instructions)

    def check_level_triggered(self, instructions: list[Instruction]) -> None:
        """Whatever is unanswered is asked for again at every tick, so that a lost instruction only delays."""
        live = self.state.live_run
        if live is None or self.state.phase.final:
            return
        if live.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN):
            assert ev.StartRun(run=live.n) in instructions
        if live.phase is RunPhase.STOPPING and not live.clear_submit:
            assert ev.SettleRun(run=live.n) in instructions
        if live.phase is RunPhase.STOPPING and live.clear_submit:
            sent = live.stop_sent_at
            if sent is None or self.now - sent >= POLICY.stop_again:
                assert ev.StopRun(run=live.n) in instructions

    def round(self, *, crash: int | None = None) -> None:
        """One round of the control loop; with `crash` the server dies before its n-th step with a cluster."""
        self.look()
        instructions = self.tell(ev.Ticked(at=self.now))
        for number, instruction in enumerate(i for i in instructions if not isinstance(i, ev.Replan)):
            if crash == 2 * number:
                return
            event = self.perform(instruction)
            if crash == 2 * number + 1:
                return
            if event is not None:
                self.tell(event)

    def look(self) -> None:
        live = self.state.live_run
        if live is None:
            return
        cluster = self.clusters[live.region]
        if not cluster.reachable:
            self.tell(ev.Unreachable(at=self.now, run=live.n, detail="no answer"))
            return
        if live.submission_id in cluster.tombstones:
            self.tell(ev.NeverStarted(at=self.now, run=live.n))
            return
        process = cluster.processes.get(live.submission_id)
        if process is not None:
            user_error = process.status is Status.FAILED and process.session % 2 == 0
            self.tell(ev.Observed(at=self.now, run=live.n, status=process.status, user_error=user_error))
        elif live.clear_submit:
            again = bool(live.session_name) and live.session_name != f"s{cluster.session}"
            self.tell(ev.Missing(at=self.now, run=live.n, new_session=again))

    def perform(self, instruction: Instruction) -> ev.Event | None:
        assert not isinstance(instruction, ev.Replan)
        run = self.state.run(instruction.run)
        cluster = self.clusters[run.region]
        match instruction:
            case ev.StartRun():
                return self.submit(cluster, run.region, run.submission_id, run.n)
            case ev.StopRun():
                process = cluster.processes.get(run.submission_id)
                if not cluster.reachable:
                    return ev.Unreachable(at=self.now, run=run.n)
                if process is None or process.status not in (Status.PENDING, Status.RUNNING):
                    return None
                process.stop = True
                return ev.StopSent(at=self.now, run=run.n)
            case ev.SettleRun():
                if not cluster.reachable:
                    return ev.Unreachable(at=self.now, run=run.n)
                if run.submission_id in cluster.processes:
                    return ev.Submitted(at=self.now, run=run.n)
                cluster.tombstones.add(run.submission_id)
                return ev.NeverStarted(at=self.now, run=run.n)

    def submit(self, cluster: Cluster, region: str, name: str, n: int) -> ev.Event:
        match cluster.mood:
            case "refuses":
                return ev.SubmitFailed(at=self.now, run=n, permanent=False, detail="connection refused")
            case "rejects":
                return ev.SubmitFailed(at=self.now, run=n, permanent=True, detail="rejected")
            case "drops":
                return ev.SubmitUnclear(at=self.now, run=n, detail="no answer")
            case "takes":
                self.land(cluster, region, name)
                return ev.SubmitUnclear(at=self.now, run=n, detail="no answer")
            case "takes late":
                cluster.under_way.append((self.now + timedelta(seconds=200), name))
                return ev.SubmitUnclear(at=self.now, run=n, detail="no answer")
            case "well":
                self.land(cluster, region, name)
                return ev.Submitted(at=self.now, run=n, session_name=f"s{cluster.session}")

    # The clusters' side.

    def land(self, cluster: Cluster, region: str, name: str) -> None:
        if name not in cluster.processes and name not in cluster.tombstones:
            process = Process(name, region, cluster.session)
            cluster.processes[name] = process
            self.everyone.append(process)

    def advance(self, span: timedelta) -> None:
        self.now += span
        for region, cluster in self.clusters.items():
            for at, name in list(cluster.under_way):
                if at <= self.now:
                    cluster.under_way.remove((at, name))
                    self.land(cluster, region, name)
            for process in cluster.processes.values():
                if process.status is Status.PENDING and not process.stop:
                    process.status, process.began = Status.RUNNING, self.now
                elif process.stop and process.status in (Status.PENDING, Status.RUNNING):
                    self.end(process, Status.STOPPED)
        alive = [p for p in self.everyone if p.began and (p.died is None or p.died > self.now)]
        # By name: a cluster that forgot a run it had never confirmed may take the same run once more.
        assert len({p.name for p in alive}) <= 1, f"two runs of one job draw breath at {self.now}: {alive}"

    def end(self, process: Process, status: Status) -> None:
        process.status = status
        process.died = self.now

    def living(self) -> Iterator[Process]:
        for cluster in self.clusters.values():
            yield from (p for p in cluster.processes.values() if p.status is Status.RUNNING)

    def restart(self, region: str) -> None:
        """The head comes back without memory; what ran may go on for a little less than the fence."""
        cluster = self.clusters[region]
        for process in cluster.processes.values():
            if process.died is None:
                process.died = self.now + POLICY.fence - timedelta(seconds=1)
        cluster.processes.clear()
        cluster.tombstones.clear()
        cluster.under_way.clear()
        cluster.session += 1

    def ran_s(self) -> float:
        return sum(((p.died or self.now) - p.began).total_seconds() for p in self.everyone if p.began)

    # What a script may do.

    def act(self, action: str, number: int) -> None:
        region = REGIONS[number % 2]
        match action:
            case "round":
                self.advance(TICK * (1 + number % 4))
                self.round()
            case "crash":
                self.advance(TICK)
                self.round(crash=number % 2)
            case "plan":
                self.tell(ev.Planned(at=self.now, windows=self.windows(number), reason=Reason.WAITING_FOR_WINDOW))
            case "mood":
                moods: tuple[Mood, ...] = ("well", "refuses", "drops", "takes", "takes late", "rejects")
                self.clusters[region].mood = moods[(number // 2) % len(moods)]
            case "restart":
                self.restart(region)
            case "die":
                for process in list(self.living()):
                    self.end(process, (Status.FAILED, Status.STOPPED, Status.FAILED)[number % 3])
            case "hold":
                self.tell(ev.Held(at=self.now, reason=Reason.BUDGET_EXHAUSTED))
            case "suspend":
                self.tell(ev.SuspendWanted(at=self.now))
            case "resume":
                self.tell(ev.ResumeWanted(at=self.now))
            case "cancel":
                self.tell(ev.CancelWanted(at=self.now))
            case "repeat":
                if self.last is not None:
                    self.tell(self.last.model_copy(update={"at": self.now}))
            case "stale":
                self.stale(number)

    def stale(self, number: int) -> None:
        """A word on a run that is over, or was never begun, changes nothing."""
        live = self.state.live_run
        known = [run.n for run in self.state.runs if live is None or run.n != live.n]
        n = known[number % len(known)] if known else len(self.state.runs) + 7
        words: tuple[ev.Event, ...] = (
            ev.Submitted(at=self.now, run=n, session_name="old"),
            ev.SubmitFailed(at=self.now, run=n, permanent=number % 2 == 0),
            ev.SubmitUnclear(at=self.now, run=n),
            ev.NeverStarted(at=self.now, run=n),
            ev.StopSent(at=self.now, run=n),
            ev.Missing(at=self.now, run=n, new_session=True),
            ev.Unreachable(at=self.now, run=n),
            *(ev.Observed(at=self.now, run=n, status=status) for status in Status),
        )
        before = self.state
        assert self.tell(words[number % len(words)]) == []
        assert self.state == before

    def windows(self, number: int) -> tuple[Window, ...]:
        shape = number % 7
        begin = self.now + TICK * (0, 0, 0, 5, 30, 0, 0)[shape]
        other = REGIONS[(number // 2) % 2]
        if shape == 5:
            return ()
        first = Window(region=REGIONS[number % 2], start=begin, end=begin + TICK * 20, gpus=1)
        if shape != 6:
            return (first,)
        return (first, Window(region=other, start=first.end + TICK * 5, end=first.end + TICK * 60, gpus=1))


ACTIONS = ("round", "round", "round", "plan", "plan", "crash", "mood", "mood", "mood", "restart", "die", "hold")
WISHES = ("suspend", "resume", "resume", "cancel", "repeat", "stale", "plan", "round")
STEPS = st.tuples(st.sampled_from(ACTIONS + ACTIONS + WISHES), st.integers(0, 83))
SCRIPTS = st.one_of(st.lists(STEPS, max_size=12), st.lists(STEPS, min_size=40, max_size=80))
JOBS = st.builds(
    JobState,
    job_id=st.just("0a1b"),
    work_s=st.sampled_from((600.0, 7200.0)),
    suspendable=st.booleans(),
    restart_s=st.sampled_from((0.0, 30.0)),
    checkpoint_period_s=st.sampled_from((0.0, 120.0)),
)
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def play(job: JobState, script: list[tuple[str, int]]) -> Model:
    model = Model(job)
    for action, number in script:
        model.act(action, number)
    return model


@FAST
@given(JOBS, SCRIPTS)
def test_replaying_the_journal_as_it_is_stored_gives_the_state(job: JobState, script: list[tuple[str, int]]) -> None:
    model = play(job, script)
    state = job
    for event in model.journal:
        state, _ = handle(state, EVENT.validate_python(event.model_dump(mode="json")), POLICY)
    assert state == model.state
    assert JobState.model_validate(state.model_dump(mode="json")) == state


@FAST
@given(JOBS, SCRIPTS)
def test_a_job_is_never_credited_with_more_than_it_ran(job: JobState, script: list[tuple[str, int]]) -> None:
    model = play(job, script)
    if model.state.phase is Phase.SUCCEEDED:
        return
    # The end of a run is known to within the pause between two looks; `act` looks at least every four ticks.
    unseen_s = 4 * TICK.total_seconds() * len(model.state.runs)
    assert model.state.done_s <= model.ran_s() + unseen_s
    if not job.suspendable:
        assert model.state.done_s == 0


@FAST
@given(JOBS, SCRIPTS)
def test_a_cancelled_job_ends_cancelled_once_its_run_is_gone_and_leaves_nothing_behind(
    job: JobState, script: list[tuple[str, int]]
) -> None:
    model = play(job, script)
    was_final = model.state.phase
    model.tell(ev.CancelWanted(at=model.now))
    model.tell(ev.SuspendWanted(at=model.now))
    model.tell(ev.ResumeWanted(at=model.now))
    for cluster in model.clusters.values():
        cluster.mood = "well"
    for _ in range(12):
        model.advance(TICK)
        model.round()
    ended = [run.phase for run in model.state.runs]
    if was_final.final:
        assert model.state.phase is was_final
    elif RunPhase.FAILED in ended[-1:]:
        assert model.state.phase in (Phase.CANCELLED, Phase.FAILED)
    else:
        assert model.state.phase is Phase.CANCELLED
    assert not any(phase.live for phase in ended)
    assert not list(model.living())


@FAST
@given(JOBS, SCRIPTS)
def test_a_job_whose_clusters_recover_runs_to_its_end(job: JobState, script: list[tuple[str, int]]) -> None:
    model = play(job, [step for step in script if step[0] not in ("cancel", "die")])
    for cluster in model.clusters.values():
        cluster.mood = "well"
    model.tell(ev.ResumeWanted(at=model.now))
    for _ in range(40):
        if model.state.phase.final:
            break
        window = Window(region="aa", start=model.now, end=model.now + timedelta(days=1), gpus=1)
        model.tell(ev.Planned(at=model.now, windows=(window,), reason=Reason.STARTS_NOW))
        model.advance(TICK)
        for process in list(model.living()):
            if not process.stop:
                model.end(process, Status.SUCCEEDED)
        model.round()
    assert model.state.phase in (Phase.SUCCEEDED, Phase.FAILED)
    if model.state.phase is Phase.FAILED:
        assert model.state.reason is Reason.RETRIES_EXHAUSTED
        assert model.state.failures > POLICY.max_failures
