"""What the energy sensors of a real NVIDIA GPU are like, and how the agent does on it. Takes less than four minutes.

usage: PYTHONPATH=agents python3 docs/benchmarks/agent_gpu.py [--out DIR]

Reads only: no limit, mode or setting is changed. Needs nvidia-ml-py; with PyTorch it also puts a load on the first GPU.
Writes DIR/agent_gpu.json (every fact) and DIR/agent_gpu.md (the short table), and says on stderr how far it is. A part
that fails is recorded with its error and the others go on. Exit 1, with one line, where there is no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpu_trace import AVERAGE, BOTH, ENERGY, INSTANT, Load, Trace, load, spread, value_of

JOB, RUN = "benchjob", "kw-benchjob-1"
HELD_S = 14.0

_started = time.monotonic()


def say(what: str) -> None:
    print(f"[{time.monotonic() - _started:5.1f} s] {what}", file=sys.stderr, flush=True)


def tick_facts(trace: Trace, *, begin: int, end: int) -> dict[str, Any]:
    """Periods (ms) of counter and powers, the counter's resolution, and what the field's time stamp means."""
    facts: dict[str, Any] = {}
    for name, column in (("counter", 3), ("power_instant", 4), ("power_average", 5)):
        changes = trace.changes(column, begin=begin, end=end)
        facts[name] = {
            "period_ms": spread([(b[0] - a[0]) / 1e6 for a, b in pairwise(changes)]),
            "resolution": math.gcd(*(abs(b[1] - a[1]) for a, b in pairwise(changes))) if len(changes) > 2 else None,
            "step": spread([abs(b[1] - a[1]) for a, b in pairwise(changes)], 0),
        }
    rows = [row for row in trace.rows if begin <= row[0] < end]
    offset_us = (time.time_ns() - time.monotonic_ns()) / 1000
    facts["stamp"] = {
        "stamp_minus_middle_of_call_us": spread([row[2] - (row[0] / 1000 + offset_us) for row in rows], 1),
        "distinct_stamps": len({row[2] for row in rows}),
        "distinct_counter_values": len({row[3] for row in rows}),
        "polls": len(rows),
    }
    facts["poll_us"] = spread([row[1] / 1000 for row in rows], 1)
    return facts


def latencies(nvml: Any, handle: Any, *, calls: int = 300) -> dict[str, Any]:
    """Microseconds of wall and CPU time per call, back to back and after a pause of 100 ms."""
    asks: dict[str, Callable[[], Any]] = {
        "fields_energy_and_powers": lambda: nvml.nvmlDeviceGetFieldValues(handle, BOTH),
        "fields_energy_instant": lambda: nvml.nvmlDeviceGetFieldValues(handle, BOTH[:2]),
        "field_energy": lambda: nvml.nvmlDeviceGetFieldValues(handle, [ENERGY]),
        "total_energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "power_usage": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
        "compute_processes": lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle),
        "graphics_processes": lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
        "process_utilization": lambda: nvml.nvmlDeviceGetProcessUtilization(handle, time.time_ns() // 1000 - 1_000_000),
        "utilization_rates": lambda: nvml.nvmlDeviceGetUtilizationRates(handle),
        "mps_processes": lambda: nvml.nvmlDeviceGetMPSComputeRunningProcesses(handle),
    }
    found: dict[str, Any] = {}
    for name, ask in asks.items():
        walls, errors = [], {}
        cpu = time.thread_time_ns()
        for _ in range(calls):
            before = time.monotonic_ns()
            try:
                ask()
            except nvml.NVMLError as error:
                errors[str(error)] = errors.get(str(error), 0) + 1
            walls.append((time.monotonic_ns() - before) / 1000)
            if sum(walls) > 1_000_000:
                break
        cpu_us = (time.thread_time_ns() - cpu) / 1000 / len(walls)
        rested = []
        for _ in range(8):
            time.sleep(0.1)
            before = time.monotonic_ns()
            with contextlib.suppress(nvml.NVMLError):
                ask()
            rested.append((time.monotonic_ns() - before) / 1000)
        found[name] = {"wall_us": spread(walls, 1), "cpu_us": round(cpu_us, 1), "rested_us": spread(rested, 1),
                       "errors": errors}  # fmt: skip
    return found


# --- the parts ------------------------------------------------------------------------------------------------------


def board(nvml: Any, handle: Any) -> dict[str, Any]:
    """What the board and driver say of themselves, and how what is not there fails."""
    asks: dict[str, Callable[[], Any]] = {
        "name": lambda: nvml.nvmlDeviceGetName(handle),
        "driver": nvml.nvmlSystemGetDriverVersion,
        "nvml": nvml.nvmlSystemGetNVMLVersion,
        "architecture": lambda: nvml.nvmlDeviceGetArchitecture(handle),
        "persistence_mode": lambda: nvml.nvmlDeviceGetPersistenceMode(handle),
        "accounting_mode": lambda: nvml.nvmlDeviceGetAccountingMode(handle),
        "compute_mode": lambda: nvml.nvmlDeviceGetComputeMode(handle),
        "mig_mode": lambda: list(nvml.nvmlDeviceGetMigMode(handle)),
        "mig_device_0": lambda: str(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, 0)),
        "max_mig_devices": lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle),
        "power_limit_bounds_mw": lambda: list(nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)),
        "power_limit_mw": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle),
        "power_limit_default_mw": lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle),
        "power_limit_enforced_mw": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        "process_utilization": lambda: len(nvml.nvmlDeviceGetProcessUtilization(handle, 0)),
        "handle_of_an_unknown_uuid": lambda: str(
            nvml.nvmlDeviceGetHandleByUUID("GPU-00000000-0000-0000-0000-000000000000")
        ),
    }
    facts: dict[str, Any] = {}
    for name, ask in asks.items():
        try:
            facts[name] = ask()
        except nvml.NVMLError as error:
            facts[name] = f"error {error.value}: {error}"
    wanted = {"energy": ENERGY, "unknown_field_9999": 9999}
    for number in (AVERAGE, INSTANT, 187, 188, 189, 190, 191, 192):
        for scope, label in ((0, "gpu"), (1, "module"), (2, "memory"), (3, "gpu_base")):
            wanted[f"{number}_{label}"] = (number, scope)
    facts["fields"] = {}
    for name, field in wanted.items():  # one by one, then together: does one that fails spoil the others?
        try:
            answer = nvml.nvmlDeviceGetFieldValues(handle, [field])[0]
            facts["fields"][name] = {"return": answer.nvmlReturn, "type": answer.valueType, "value": value_of(answer)}
        except (nvml.NVMLError, KeyError) as error:
            facts["fields"][name] = f"error: {error!r}"
    together = nvml.nvmlDeviceGetFieldValues(handle, [ENERGY, 9999, (AVERAGE, 2), (INSTANT, 0)])
    facts["mixed_call_returns"] = [field.nvmlReturn for field in together]
    return facts


def mean_w(nvml: Any, handle: Any, *, seconds: float) -> dict[str, float]:
    """Power by the counter alone, with the board left in peace between the two reads."""
    t0, e0 = time.monotonic(), nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    time.sleep(seconds)
    e1, t1 = nvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.monotonic()
    return {"seconds": round(t1 - t0, 3), "counter_w": round((e1 - e0) / 1000 / (t1 - t0), 2),
            "usage_w": nvml.nvmlDeviceGetPowerUsage(handle) / 1000}  # fmt: skip


def side_by_side(nvml: Any, handle: Any, worker: Load, *, seconds: float) -> dict[str, Any]:
    """Energy by counter and by sampled power over the same time, for three loads; and the sensors' ticks in each."""
    found: dict[str, Any] = {}
    with Trace(nvml, handle) as trace:
        time.sleep(0.5)
        spans = {kind: worker.do(kind, seconds) for kind in ("idle", "matmul", "square")}
        time.sleep(0.5)
    for kind, span in spans.items():
        begin, end = span["began"] + 500_000_000, span["ended"]  # the first half second is the step from load to load
        counter_mj = trace.energy_at(end) - trace.energy_at(begin)
        found[kind] = {"seconds": (end - begin) / 1e9, "counter_j": round(counter_mj / 1000, 3),
                       "ticks": tick_facts(trace, begin=begin, end=end),
                       "counter_raw_error_pct": round(
                           100 * (trace.raw_at(end) - trace.raw_at(begin) - counter_mj) / counter_mj, 3)}  # fmt: skip
        rows = [row for row in trace.rows if begin <= row[0] < end]
        for name, column in (("instant", 4), ("average", 5)):
            for hertz in (10, 1):
                picked, due = [], begin
                for row in rows:
                    if row[0] >= due and row[column] is not None:
                        picked.append((row[0], row[column] or 0))
                        due += 1_000_000_000 // hertz
                mj = sum((p0 + p1) / 2 * (t1 - t0) / 1e9 for (t0, p0), (t1, p1) in pairwise(picked))
                span_mj = trace.energy_at(picked[-1][0]) - trace.energy_at(picked[0][0])
                found[kind][f"{name}_{hertz}hz_error_pct"] = round(100 * (mj - span_mj) / span_mj, 2)
    return found


def bursts(nvml: Any, handle: Any, worker: Load) -> dict[str, Any]:
    """Equal jobs at random moments of the tick: how far do raw and tick-interpolated energies of equal work differ?"""
    rng = random.Random(1)
    found: dict[str, Any] = {}
    with Trace(nvml, handle) as trace:
        for seconds, times in ((1.0, 10), (5.0, 3)):
            spans = []
            for _ in range(times):
                time.sleep(0.5 + rng.random() / 5)
                spans.append(worker.do("matmul", seconds))
            time.sleep(0.5)
            watts: dict[str, list[float]] = {"raw": [], "interpolated": []}
            apart = []
            for span in spans:
                b, e = span["began"], span["ended"]
                exact = trace.energy_at(e) - trace.energy_at(b)
                raw = trace.raw_at(e) - trace.raw_at(b)
                watts["raw"].append(raw * 1e6 / (e - b))
                watts["interpolated"].append(exact * 1e6 / (e - b))
                apart.append(100 * (raw - exact) / exact)
            found[f"{seconds:g}s"] = {
                **{f"{name}_w": spread(values, 2) for name, values in watts.items()},
                **{f"{name}_sd_pct": round(100 * statistics.pstdev(values) / statistics.fmean(values), 2)
                   for name, values in watts.items()},
                "raw_minus_interpolated_pct": spread(apart, 2),
            }  # fmt: skip
    return found


def memory_steps() -> dict[str, int]:
    """Resident memory (kB) of a process that does what the agent does, step by step: what of it is whose."""
    code = (
        "import json\n"
        "def rss(): return int([l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1])\n"
        "steps = {'python': rss()}\n"
        "import kilowait_agents.cli; steps['agent'] = rss()\n"
        "import pynvml as n; steps['nvidia-ml-py'] = rss()\n"
        "from kilowait_agents.memory import give_back\n"
        "give_back(); steps['given back'] = rss()\n"
        "n.nvmlInit(); steps['nvmlInit'] = rss()\n"
        "h = n.nvmlDeviceGetHandleByIndex(0); steps['handle'] = rss()\n"
        "n.nvmlDeviceGetFieldValues(h, [83]); n.nvmlDeviceGetComputeRunningProcesses(h); steps['read'] = rss()\n"
        "import kilowait_agents.transport; steps['transport'] = rss()\n"
        "give_back(); steps['given back again'] = rss()\n"
        "print(json.dumps(steps))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def start() -> dict[str, float]:
    """CPU seconds of importing all that the agent loads on a GPU node with a server; least and median of seven."""
    code = (
        "import time; before = time.process_time(); import kilowait_agents.cli, kilowait_agents.transport, pynvml; "
        "print(time.process_time() - before)"
    )
    costs = sorted(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(7))
    return {"least": round(costs[0], 3), "median": round(costs[3], 3)}


def learned(nvml: Any) -> dict[str, Any]:
    """The distance of the counter's ticks as the agent's own meter learns it, in five lives, and what that takes."""
    from kilowait_agents.clock import WallClock
    from kilowait_agents.nvml import NvmlMeter

    periods, learning, reading = [], [], []
    for _ in range(5):
        meter = NvmlMeter(nvml=nvml, clock=WallClock())
        before = time.monotonic()
        meter.learn_ticks()
        learning.append(time.monotonic() - before)
        before = time.monotonic()
        meter.read([meter.devices()[0].uuid], exact=True)
        reading.append(time.monotonic() - before)
        periods += [period / 1e6 for period in meter.tick_ns.values()]
    return {"period_ms": spread(periods), "learning_s": spread(learning), "exact_read_s": spread(reading)}


def tracked(nvml: Any, handle: Any, worker: Load) -> dict[str, Any]:
    """The in-process tracker against the trace's ticks, beside what a plain difference of the counter gives."""
    from kilowait_agents.track import track

    found: dict[str, Any] = {}
    rng = random.Random(2)
    with Trace(nvml, handle) as trace, tempfile.TemporaryDirectory() as locks:
        time.sleep(0.5)
        rows: dict[float, list[tuple[int, int, int]]] = {}
        for seconds, times in ((1.0, 8), (5.0, 3)):
            for _ in range(times):
                time.sleep(0.3 + rng.random() / 5)
                with track("burst", csv=None, locks=Path(locks)) as run:
                    began = time.monotonic_ns()
                    worker.do("matmul", seconds)
                    ended = time.monotonic_ns()
                assert run.result is not None
                rows.setdefault(seconds, []).append((began, ended, run.result.gpu_mj or 0))
        time.sleep(0.5)
    for seconds, runs in rows.items():
        exact = [trace.energy_at(ended) - trace.energy_at(began) for began, ended, _ in runs]
        raw = [trace.raw_at(ended) - trace.raw_at(began) for began, ended, _ in runs]
        ours = [mj for *_, mj in runs]
        found[f"{seconds:g}s"] = {
            f"{name}_pct": spread([100 * (mj - e) / e for mj, e in zip(values, exact, strict=True)], 2)
            for name, values in (("tracker", ours), ("raw", raw))
        }
    return found


def cpu_s(pid: int) -> float:
    """CPU time of all threads, to the nanosecond where the kernel keeps it."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: " ".join(rest.split()) for key, _, rest in (line.partition(":") for line in lines)}


def per_hour(pid: int, cpu_at: float, at: float) -> float:
    return round(3600 * (cpu_s(pid) - cpu_at) / (time.monotonic() - at), 2)


def agent_beside(nvml: Any, handle: Any) -> dict[str, Any]:
    """The agent, as shipped, beside a job: killed without warning in the middle and started again."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, Trace(nvml, handle, pause_s=0.004) as trace:
        sink = Path(scratch) / "records.jsonl"
        command = [sys.executable, "-m", "kilowait_agents", "--sink", str(sink), "--meter", "nvml", "--node", "bench",
                   "--state-dir", str(Path(scratch) / "state")]  # fmt: skip
        said = Path(scratch) / "said"
        first = subprocess.Popen(command, stderr=said.open("a"))
        time.sleep(3)
        worker = Load(KILOWAIT_JOB_ID=JOB, KILOWAIT_RUN_ID=RUN, KILOWAIT_GPUS="1")
        pid = worker.ready["pid"]
        seen = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        found["pids"] = {"ours": pid, "by_driver": [process.pid for process in seen],
                         "namespaced": status_of(pid).get("NSpid"),
                         "used_memory": [process.usedGpuMemory for process in seen]}  # fmt: skip
        time.sleep(2)
        cpu_at, at = cpu_s(first.pid), time.monotonic()
        time.sleep(HELD_S - 2)  # the job holds the board and does nothing
        found["cpu_s_per_hour_beside_an_idle_job"] = per_hour(first.pid, cpu_at, at)
        worker.begin("square", 24)
        time.sleep(3)
        cpu_at, at = cpu_s(first.pid), time.monotonic()
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, time.time_ns() // 1000 - 3_000_000)
            found["utilization_samples"] = [[s.pid, s.timeStamp, s.smUtil, s.memUtil] for s in samples][:40]
        except nvml.NVMLError as error:
            found["utilization_samples"] = str(error)
        time.sleep(16)
        found["cpu_s_per_hour"] = per_hour(first.pid, cpu_at, at)
        found["memory"] = {
            key: status_of(first.pid).get(key) for key in ("VmRSS", "VmHWM", "RssAnon", "RssFile", "Threads")
        }
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(2)
        second = subprocess.Popen(command, stderr=said.open("a"))
        worker.wait()
        worker.do("matmul", 4)
        worker.close()
        left = time.monotonic_ns()
        time.sleep(6)
        second.send_signal(signal.SIGTERM)
        found["agent_exit"] = second.wait(30)
        time.sleep(0.5)
        records = [json.loads(line) for line in sink.read_text().splitlines()]
        found["said"] = said.read_text().splitlines()
    offset_ns = time.time_ns() - time.monotonic_ns()
    records = [record for record in records if record["device_uuid"] == nvml.nvmlDeviceGetUUID(handle)]
    begin, end = (records[i][k] * 1000 - offset_ns for i, k in ((0, "t0_us"), (-1, "t1_us")))
    total = sum(record["energy_mj"] for record in records)
    ours = sum(share["energy_mj"] for record in records for share in record["shares"] if share["run_id"] == RUN)
    counted = trace.energy_at(end) - trace.energy_at(begin)
    by_basis: dict[str, int] = {}
    for share in (share for record in records for share in record["shares"] if share["run_id"] == RUN):
        by_basis[share["basis"]] = by_basis.get(share["basis"], 0) + share["energy_mj"]
    parts = [sum(s["energy_mj"] for s in r["shares"]) + r["idle_mj"] + r["unattributed_mj"] for r in records]
    found |= {
        "records": len(records), "epochs": len({record["stream_epoch"] for record in records}),
        "seconds": round((end - begin) / 1e9, 3),
        "parts_equal_whole": all(p == r["energy_mj"] for p, r in zip(parts, records, strict=True)),
        "overlaps": sum(a["t1_us"] > b["t0_us"] for a, b in pairwise(records)),
        "holes_s": [round((b["t0_us"] - a["t1_us"]) / 1e6, 3) for a, b in pairwise(records) if b["t0_us"] > a["t1_us"]],
        "counter_j": round(counted / 1000, 3), "agent_j": round(total / 1000, 3),
        "agent_error_pct": round(100 * (total - counted) / counted, 3),
        "run_j": round(ours / 1000, 3), "run_j_by_basis": {basis: mj / 1000 for basis, mj in by_basis.items()},
        "run_by_ticks_j": round((trace.energy_at(left) - trace.energy_at(worker.ready["ready"])) / 1000, 3),
        "idle_j": sum(r["idle_mj"] for r in records) / 1000,
        "unattributed_j": sum(r["unattributed_mj"] for r in records) / 1000,
        "qualities": sorted({f"{r['quality']}/{r['method']}" for r in records}),
        "notes": sorted({r["note"] for r in records if r["note"]}),
        "last_records": records[-3:],
    }  # fmt: skip
    return found


def table(facts: dict[str, Any]) -> str:
    """The facts a reader looks for first, as a short Markdown table."""

    def get(*path: str) -> Any:
        here: Any = facts
        for name in path:
            here = here.get(name, "-") if isinstance(here, dict) else "-"
        return here

    def several(*path: str, of: Sequence[str]) -> str:
        return " / ".join(str(get(*path, name)) for name in of)

    rows = [
        ("GPU, driver", several("board", of=("name", "driver"))),
        ("counter resolution, mJ", get("side_by_side", "square", "ticks", "counter", "resolution")),
        (
            "energy and power in one call, µs (p50 / p99)",
            several("latency_idle", "fields_energy_and_powers", "wall_us", of=("p50", "p99")),
        ),
        ("idle, W: no context", get("idle", "counter_w")),
        ("idle, W: a context that does nothing", get("idle_with_context", "counter_w")),
    ]
    for what in ("counter", "power_instant", "power_average"):
        for kind in ("matmul", "square"):
            period = several("side_by_side", kind, "ticks", what, "period_ms", of=("p05", "p50", "p95"))
            rows.append((f"{what}: period under {kind} load, ms (p05 / p50 / p95)", period))
    for kind in ("idle", "matmul", "square"):
        errors = several(
            "side_by_side", kind,
            of=[f"{how}_{hertz}hz_error_pct" for how in ("instant", "average") for hertz in (10, 1)],
        )  # fmt: skip
        rows.append((f"power against the counter, {kind}, % (instant 10, 1 Hz / average 10, 1 Hz)", errors))
    for length in ("1s", "5s"):
        jobs = several("bursts", length, of=("raw_sd_pct", "interpolated_sd_pct"))
        rows.append((f"equal jobs of {length}: spread, % (raw difference / tick interpolation)", jobs))
    for length in ("1s", "5s"):
        tracker = several("tracked", length, "tracker_pct", of=("min", "p50", "max"))
        rows.append((f"tracker on jobs of {length}: error, % (least / median / most)", tracker))
    rows += [
        ("agent beside a job, killed once: error, %", get("agent", "agent_error_pct")),
        ("that job by basis, J", json.dumps(get("agent", "run_j_by_basis"))),
        (
            "agent: CPU s per hour (beside a job that holds the board idle / that works)",
            several("agent", of=("cpu_s_per_hour_beside_an_idle_job", "cpu_s_per_hour")),
        ),
        (
            "agent: memory (now / at its peak / anonymous)",
            several("agent", "memory", of=("VmRSS", "VmHWM", "RssAnon")),
        ),
        ("agent: CPU s of its imports (least / median)", several("start", of=("least", "median"))),
        ("tick as learned, ms (p05 / p50 / p95)", several("learned", "period_ms", of=("p05", "p50", "p95"))),
        (
            "learning that / an exact reading, s (p50)",
            f"{get('learned', 'learning_s', 'p50')} / {get('learned', 'exact_read_s', 'p50')}",
        ),
        (
            "whether anything runs (utilization), µs (p50 / p99)",
            several("latency_idle", "utilization_rates", "wall_us", of=("p50", "p99")),
        ),
        (
            "memory, kB: " + " / ".join(get("memory_steps") or ()),
            several("memory_steps", of=list(get("memory_steps") or ())),
        ),
    ]
    return "| what | measured |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("agent_gpu"), help="folder for the answer")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each load beside the counter")
    options = parser.parse_args()
    if options.load:
        load()
        return 0
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
    except Exception as error:
        print(f"no GPU to measure here: {error}; run this on a machine with an NVIDIA GPU and driver", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count(), "kernel": platform.release()}
    worker: Load | None = None

    def part(name: str, do: Callable[[], Any]) -> Any:
        say(name)
        try:
            facts[name] = do()
        except Exception as error:
            facts[name] = {"error": repr(error)}
            say(f"{name} failed: {error!r}")
        (options.out / "agent_gpu.json").write_text(json.dumps(facts, indent=1, default=str))
        (options.out / "agent_gpu.md").write_text(table(facts))

    part("board", lambda: board(nvml, handle))
    part("idle", lambda: mean_w(nvml, handle, seconds=10))
    part("latency_idle", lambda: latencies(nvml, handle))
    part("memory_steps", memory_steps)
    part("start", start)
    part("learned", lambda: learned(nvml))
    part("agent", lambda: agent_beside(nvml, handle))
    try:
        worker = Load()
    except Exception as error:
        facts["load"] = {"error": repr(error)}
        say(f"no load: {error}")
    if worker is not None:
        part("idle_with_context", lambda: mean_w(nvml, handle, seconds=5))
        part("side_by_side", lambda: side_by_side(nvml, handle, worker, seconds=options.seconds))
        worker.begin("matmul", 8)
        part("latency_busy", lambda: latencies(nvml, handle, calls=100))
        worker.wait()
        part("bursts", lambda: bursts(nvml, handle, worker))
        part("tracked", lambda: tracked(nvml, handle, worker))
        worker.close()
    say("done")
    print(table(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
