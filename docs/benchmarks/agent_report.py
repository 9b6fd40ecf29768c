"""The report of agent_bench.py: what was asked, what was measured, and on a real GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def report(found: dict[str, Any]) -> str:
    """docs/benchmarks/agent.md."""
    parts = [
        "# The node agent, measured",
        f"Written by `make bench-agent` on {found['machine']}, shared with other work (load average"
        f" {found['load'][0]:.1f} at the start, {found['load'][1]:.1f} at the end). Boards are those of"
        " `tests/fake_nvml.c`, whose energy is known in closed form; the tools of a table ran at the same time on the"
        " same scenario, in real time, and each is held to the truth between its own first and last reading.",
        "## Goals",
        _table(("what", "goal", "measured", ""), _goals(found)),
        "## One minute on eight boards, error in %",
        _table(("load", "Kilowait", "CodeCarbon 3.3.2, 1 s", "Zeus 0.16.0 window"), [
            (load, *(_error(tools[tool]) for tool in ("kilowait", "codecarbon", "zeus")))
            for load, tools in found["loads"].items()
        ]),
        "## Faults: one board at 500 W for 30 s, error in %, and what is said of it",
        _table(("fault", "Kilowait", "CodeCarbon 3.3.2", "Zeus 0.16.0 window"), [
            (fault, *(_error(tools[tool], flags=True) for tool in ("kilowait", "codecarbon", "zeus")))
            for fault, tools in found["faults"].items()
        ]),
        "A gap is a stretch of which nothing is known: its energy is missing from the sum, and the record says so."
        " Faults come at fixed times after the launch: a tool that takes longer to start than that, as both others did"
        " on this busy machine, meets only the state after them, so their rows for the restart and the lost board say"
        " little.",
        "## 300 windows at random moments of a square load, p95 of the error in %",
        _table(("length", "between the counter's ticks", "plain difference, as the others take it"), [
            (f"{length:g} s", f"{p95['between ticks']:.2f}", f"{p95['difference']:.2f}")
            for length, p95 in found["windows"].items()
        ]),
        "## What it costs",
        _table(("", "CPU s per hour", "memory, MB", "import, CPU s"), _costs(found)),
        "The agent keeps every record on disk meanwhile, at 1 Hz, and no server answers. These boards answer"
        " in microseconds; a real driver does not, see below.",
        "## Intake of the server, records per second",
        "`kilowait serve` in a process of its own, four agents at once over HTTP, 500 records a batch, each on the disk"
        " before it is acknowledged. In a second round it is killed by SIGKILL in between and started again.",
        _table(("database", "wall", "per CPU second of the server", "acknowledged at the kill", "lost", "twice, mJ"), [
            (name, *(f"{one[key]:,.0f}" for key in ("per_s", "per_cpu_s", "acknowledged", "lost", "twice")))
            for name, one in found["intake"].items()
        ]),
        *_real(),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _goals(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    worst = max(abs(tools["kilowait"]["error_pct"]) for tools in found["loads"].values())
    p95 = {length: row["between ticks"] for length, row in found["windows"].items()}
    cost = found["footprint"]
    rows = [
        ("energy of a minute, eight boards, worst load", 0.25, worst, "%"),
        *(
            (f"job of {length:g} s, p95", goal, p95[length], "%")
            for length, goal in ((1.0, 3.0), (5.0, 1.0), (60.0, 0.1))
        ),
        ("CPU per hour, eight boards, 1 Hz, durable", 4.0, cost["cpu_s_per_h"], "s"),
        ("memory", 40.0, cost["rss_mb"], "MB"),
        ("memory, at its peak", 40.0, cost["peak_mb"], "MB"),
        ("import, CPU", 0.3, cost["import_cpu_s"], "s"),
        ("calls of the driver per second", 40.0, cost["calls_per_s"], ""),
    ]
    judged = [
        (what, f"<= {goal:g} {unit}", f"{value:.2f} {unit}", "reached" if value <= goal else "**not reached**")
        for what, goal, value, unit in rows
    ]
    for name, goal in (("SQLite", 20_000), ("PostgreSQL", 10_000)):
        if name in found["intake"]:
            value = found["intake"][name]["per_s"]
            verdict = "reached" if value >= goal else "**not reached**"
            judged.append((f"intake, {name}, records per second", f">= {goal:,}", f"{value:,.0f}", verdict))
    return judged


def _costs(found: dict[str, Any]) -> list[tuple[str, ...]]:
    own = found["footprint"]
    rows = [("Kilowait agent", f"{own['cpu_s_per_h']:.1f}", f"{own['rss_mb']:.0f}", f"{own['import_cpu_s']:.2f}")]
    for tool, name in (("codecarbon", "CodeCarbon, 1 s"), ("zeus", "Zeus, two readings")):
        one = found["loads"]["square"][tool]
        if "failed" not in one:
            rows.append((name, f"{one['cpu_s_per_h']:.1f}", f"{one['rss_mb']:.0f}", f"{one['import_cpu_s']:.2f}"))
    return rows


def _error(one: dict[str, Any], *, flags: bool = False) -> str:
    if "failed" in one:
        return f"fails: {one['failed']}".replace("|", "/")
    said = f"{one['error_pct']:+.3f}" if abs(one["error_pct"]) < 10 else f"{one['error_pct']:+,.0f}"
    if flags and "flags" in one:
        return f"{said} ({', '.join(one['flags']) or 'measured'})"
    return said + (" (nothing)" if flags else "")


def _real() -> list[str]:
    """The tables of real GPUs that people recorded, as they stand beside this file."""
    found = sorted(HERE.glob("agent_gpu_*.md"))
    return ["## On a real GPU", *(path.read_text(encoding="utf-8").strip() for path in found)] if found else []


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])
