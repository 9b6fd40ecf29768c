"""Recomputes a savings report from its evidence, with nothing but Python's standard library.

    kilowait report --month 2026-10 --evidence DIR
    python recompute.py DIR

Reads no figure of the report before it has made its own: energy interval by interval times intensity slot by slot, the
baseline from the same energy at another time, the levers, the interval, market-based carbon and hourly matching where
there are contracts, percentages, the sums. Then says which figures differ by more than one in a million, and which it
does not make; exit code 1 where one differs, 2 where the evidence is none. The method in words: docs/method.md.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sys
from bisect import bisect_right
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

MJ_PER_KWH = 3_600_000_000  # integer millijoules in a kWh
US = timedelta(microseconds=1)
TOLERANCE = 1e-6
METHODS = {"slotwise@1", "levers@1", "market-based@1", "run-now@1", "mean-start@1", "static-clean@1"}
METHODS |= {f"policy:{name}@1" for name in ("threshold", "lowest-window", "wait-awhile")}
NOT_RECOMPUTED = (
    "measured_pct, gpu_h, useful_gpu_h, embodied_g, sci_g_per_gpu_h, costs, what plans promised, "
    "what is provisional or final, scope 2 and uses by region and month, energy of regions, windows of baselines and "
    "best schedules"
)
LEVERS = ("time_shift_g", "region_shift_g", "resizing_g", "fixed_size_g", "overheads_g")


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Interval:
    """IT energy on [start, end) in a region."""

    def __init__(self, start, end, energy_mj, region, uncertainty_pct, estimated):
        self.start, self.end, self.energy_mj, self.region = start, end, energy_mj, region
        self.uncertainty_pct, self.estimated = uncertainty_pct, estimated
        if not start < end:
            raise ValueError(f"an interval from {start} to {end} has no length")

    def at(self, by, region):
        rest = (self.energy_mj, region, self.uncertainty_pct, self.estimated)
        return Interval(self.start + by, self.end + by, *rest)


class Slots:
    """A region's intensity, slot by slot."""

    def __init__(self, found):
        self.found = sorted(found)
        for (_, before, *_), (start, end, *_) in zip([(None, None), *self.found], self.found, strict=False):
            if not start < end or (before is not None and start < before):
                raise ValueError(f"the intensity from {start} to {end} overlaps what is before it, or has no length")
        self.starts = [slot[0] for slot in self.found]

    def of(self, start, end):
        """(start, end, g/kWh, estimated) of the slots of [start, end), cut at its edges."""
        cursor = start
        for index in range(max(bisect_right(self.starts, start) - 1, 0), len(self.found)):
            first, last, value, estimated = self.found[index]
            if first >= end:
                break
            if last <= start:
                continue
            if first > cursor:
                break
            yield max(first, start), min(last, end), value, estimated
            cursor = last
        if cursor < end:
            raise SystemExit(f"intensity is missing from {max(cursor, start)} to {end}")


def emission(intervals, slots, pue, slack=timedelta(0)):
    """(grams, kWh, grams that rest on estimates, grams of the meter's error); the mean over delays up to `slack`."""
    total = [0.0, 0.0, 0.0, 0.0]
    width = slack / US
    for one in intervals:
        kwh = one.energy_mj / MJ_PER_KWH * pue[one.region]
        length = (one.end - one.start) / US
        grams = estimated_g = before = 0.0
        for first, last, value, estimated in slots[one.region].of(one.start, one.end + slack):
            if slack:
                # How much of the energy falls into the slot, on average over the delays.
                reach = (last - one.start) / US
                edges = (reach, reach - length, reach - width, reach - length - width)
                a, b, c, d = (max(edge, 0.0) ** 2 / 2 for edge in edges)
                share, before = (a - b - c + d) / (length * width) - before, (a - b - c + d) / (length * width)
            else:
                share = (last - first) / US / length
            part = kwh * share * value
            grams += part
            if estimated or one.estimated:
                estimated_g += part
        for index, value in enumerate((grams, kwh, estimated_g, abs(grams) * one.uncertainty_pct / 100)):
            total[index] += value
    return total


def packed(intervals):
    """The intervals without the pauses between them."""
    moved, cut, reach = [], timedelta(0), None
    for one in intervals:
        if reach is not None and one.start > reach:
            cut += one.start - reach
        reach = one.end if reach is None else max(reach, one.end)
        moved.append(one.at(-cut, one.region))
    return moved


def laid(intervals, windows, region):
    """The work of the intervals, without pauses, done in windows of a region; the rest goes on after the last one."""
    work = packed(intervals)
    done = work[0].start if work else None
    found = []
    for start, end in windows[:-1]:
        found += [one.at(start - done, region) for one in parts(work, done, done + (end - start))]
        done += end - start
    if work:
        found += [one.at(windows[-1][0] - done, region) for one in parts(work, done, None)]
    return found


def parts(intervals, start, end):
    """What of the intervals lies in [start, end), energy pro rata to time."""
    for one in intervals:
        first, last = max(one.start, start), one.end if end is None else min(one.end, end)
        if first < last:
            length = (one.end - one.start) // US
            before, after = (one.energy_mj * ((edge - one.start) // US) // length for edge in (first, last))
            yield Interval(first, last, after - before, one.region, one.uncertainty_pct, one.estimated)


def by_stint(intervals, stints):
    """(interval, stint) of what each stint of an elastic job did: rows of sizes.csv, in order."""
    since = [moment(row["since"]) for row in stints]
    for number, row in enumerate(stints):
        start, end = since[number] if number else None, since[number + 1] if number + 1 < len(since) else None
        for one in parts(intervals, start or min(one.start for one in intervals), end) if intervals else ():
            yield one, row


def on_size(intervals, stints, name):
    """The work of an elastic job when it was done, with the energy it takes on the `baseline` or the `best` GPUs."""
    found = []
    for one, row in by_stint(intervals, stints):
        factor = (int(row[f"{name}_gpus"]) / float(row[f"{name}_speed"])) / (int(row["gpus"]) / float(row["speed"]))
        rest = (round(one.energy_mj * factor), one.region, one.uncertainty_pct, one.estimated)
        found.append(Interval(one.start, one.end, *rest))
    return found


def through(there, stints):
    """That work without pauses, each stint as long as it takes on the baseline's GPUs."""
    found, at = [], min((one.start for one in there), default=None)
    for row in stints:
        work = packed([one for one, stint in by_stint(there, stints) if stint is row])
        if not work:
            continue
        rate, origin = float(row["speed"]) / float(row["baseline_speed"]), work[0].start
        begin = at
        for one in work:
            start, end = (begin + round((edge - origin) / US * rate) * US for edge in (one.start, one.end))
            rest = (one.energy_mj, one.region, one.uncertainty_pct, one.estimated)
            found.append(Interval(start, max(end, start + US), *rest))
        at = max(one.end for one in found)
    return found


def ceiling_g(useful, rows_, actual_g, slots, pue):
    """What the best schedule would have emitted: the one given, or how the job ran if that was in time."""
    grams, work = 0.0, packed(useful)
    if not work:
        return 0.0
    done = work[0].start
    for number, row in enumerate(rows_, start=1):
        start, end, region = moment(row["start"]), moment(row["end"]), row["region"]
        until = None if number == len(rows_) else done + (end - start)
        there = [one.at(start - done, region) for one in parts(work, done, until)]
        if int(row["restart_us"]):
            back = start - timedelta(microseconds=int(row["restart_us"]))
            there.append(Interval(back, start, int(row["restart_mj"]), region, 0.0, False))
        grams += emission(there, slots, pue)[0]
        done += end - start
    return min(grams, actual_g) if rows_[0]["ran_in_time"] == "true" else grams


def figures(useful, overhead, baseline, ceiling, stints, slots, pue):
    """A job's figures under the report's names; rows of its baseline, its best schedule and its sizes, in order."""
    region, slack = baseline[0]["region"], timedelta(microseconds=int(baseline[0]["slack_us"]))
    windows = [(moment(row["start"]), moment(row["end"])) for row in baseline]
    worked, lost = emission(useful, slots, pue), emission(overhead, slots, pue)
    actual = [a + b for a, b in zip(worked, lost, strict=True)]
    alike = on_size(useful, stints, "baseline") if stints else useful
    work = through(alike, stints) if stints else useful
    same = emission(alike, slots, pue)
    best = emission(on_size(useful, stints, "best"), slots, pue) if stints else same
    base = emission(laid(work, windows, region), slots, pue, slack)
    at_home = emission([one.at(timedelta(0), region) for one in alike], slots, pue)
    saved = base[0] - actual[0]
    share = actual[3] / abs(actual[0]) if actual[0] else meter_share([*useful, *overhead])
    found = {
        "energy_kwh": actual[1],
        "carbon_g": actual[0],
        "baseline_g": base[0],
        "saved_g": saved,
        "uncertainty_g": abs(saved) * share + 0.1 * (abs(base[2]) + abs(actual[2])),
        "time_shift_g": base[0] - at_home[0],
        "region_shift_g": at_home[0] - same[0],
        "resizing_g": same[0] - worked[0],
        "fixed_size_g": same[0] - best[0],
        "overheads_g": -lost[0],
        "estimated_pct": 100 * actual[2] / actual[0] if actual[0] else 0.0,
        **pct_of("saved_pct", saved, base[0]),
    }
    if ceiling:
        found["ceiling_saved_g"] = base[0] - ceiling_g(work, ceiling, actual[0], slots, pue)
        found |= pct_of("ceiling_pct", found["ceiling_saved_g"], base[0])
    return found


def pct_of(name, part, whole):
    """The percentage, under its name; none of what is not positive."""
    return {name: 100 * part / whole} if whole > 0 else {}


def meter_share(intervals):
    """The meter's error as a share of the energy."""
    whole = sum(one.energy_mj for one in intervals)
    return sum(one.energy_mj * one.uncertainty_pct for one in intervals) / 100 / whole if whole else 0.0


HOUR = timedelta(hours=1)


class Contracts:
    """What contracts for clean energy cover of each hour's load, by region: shares of all jobs' load together."""

    def __init__(self, folder):
        self.load, self.matched, self.uncovered, self.mixes = {}, {}, {}, []
        if not (folder / "loads.csv").exists():
            return
        for row in rows(folder, "loads.csv"):
            self.load.setdefault(row["region"], {})[moment(row["hour"])] = float(row["load_kwh"])
        self.mixes = [
            (row["region"], moment(row["start"]), moment(row["end"]), float(row["g_per_kwh"]))
            for row in rows(folder, "residual_mixes.csv")
        ]
        supplies = [
            (row["region"], moment(row["start"]), moment(row["end"]), row["supply"], row["hourly"], float(row["kwh"]))
            for row in rows(folder, "supplies.csv")
        ]
        for region, load in self.load.items():
            came = {}
            for where, start, _, _, hourly, kwh in supplies:
                if where == region and hourly == "true":
                    came[start] = came.get(start, 0.0) + kwh
            self.matched[region] = {
                hour: min(1.0, came[hour] / kwh) if kwh > 0 else 1.0 for hour, kwh in load.items() if hour in came
            }
            left = self.uncovered[region] = {hour: 1.0 - self.matched[region].get(hour, 0.0) for hour in load}
            volumes = [one for one in supplies if one[0] == region and one[4] == "false"]
            for _, start, end, _, _, kwh in sorted(volumes, key=lambda one: (one[2] - one[1], one[3])):
                inside = [hour for hour in load if start <= hour < end]
                drawn = sum(load[hour] * left[hour] for hour in inside)
                for hour in inside:
                    left[hour] *= 1.0 - (min(1.0, kwh / drawn) if drawn > 0 else 0.0)

    def figures(self, intervals, slots, pue):
        """Market-based grams and kWh matched by the hour, where they are known."""
        grams, matched = 0.0, 0.0
        for one in intervals:
            if one.region not in self.load:
                return {}
            for first, last, value, _ in slots[one.region].of(one.start, one.end):
                while first < last:
                    hour = first.replace(minute=0, second=0, microsecond=0)
                    until = min(hour + HOUR, last)
                    kwh = one.energy_mj / MJ_PER_KWH * pue[one.region] * ((until - first) / (one.end - one.start))
                    mixes = [found for found in self.mixes if found[0] == one.region and found[1] <= hour < found[2]]
                    mix = max(mixes, key=lambda found: found[1])[3] if mixes else value
                    grams += self.uncovered[one.region][hour] * kwh * mix
                    share = self.matched[one.region].get(hour)
                    matched = None if matched is None or share is None else matched + share * kwh
                    first = until
        found = {"market_based_g": grams} if intervals else {}
        return {**found, "hourly_matched_kwh": matched} if found and matched is not None else found


def said(line):
    """The same figures as the report gives them."""
    plain = {name: line[name] for name in ("energy_kwh", "carbon_g", "saved_g", "uncertainty_g")}
    levers = {name: line["levers"][name] for name in LEVERS}
    found = {
        **plain,
        **levers,
        "baseline_g": line["baseline"]["carbon_g"] if "baseline" in line else line["baseline_g"],
    }
    further = ("ceiling_saved_g", "ceiling_pct", "saved_pct", "estimated_pct", "hourly_matched_kwh")
    found |= {name: line[name] for name in (*further, "jobs", "without_figures") if line.get(name) is not None}
    if line.get("market_based") is not None:
        found["market_based_g"] = line["market_based"]["carbon_g"]
    return found


def differences(what, ours, theirs):
    for name in theirs.keys() - ours.keys():
        yield f"{what}: {name} is in the report, not in the evidence"
    for name, value in ours.items():
        if name not in theirs:
            yield f"{what}: {name} is in the evidence, not in the report"
        elif not math.isclose(value, theirs[name], rel_tol=TOLERANCE, abs_tol=1e-9):
            yield f"{what}: {name} is {theirs[name]!r} in the report, {value!r} from the evidence"


def changed_files(folder, manifest):
    for name in sorted({path.name for path in folder.iterdir()} - {"manifest.json"} - manifest["sha256"].keys()):
        yield f"{name}: not in the manifest"
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            yield f"{name}: not the file that the manifest names"


def recompute(folder: Path) -> tuple[int, list[str]]:
    """How many figures were made anew, and what is wrong."""
    pue = {row["region"]: float(row["pue"]) for row in rows(folder, "regions.csv")}
    slots_by_region: dict[str, list] = {}
    for row in rows(folder, "intensity.csv"):
        slot = (moment(row["start"]), moment(row["end"]), float(row["g_per_kwh"]), row["estimated"] == "true")
        slots_by_region.setdefault(row["region"], []).append(slot)
    slots = {region: Slots(found) for region, found in slots_by_region.items()}
    energy: dict[tuple[str, str], list[Interval]] = {}
    for row in rows(folder, "intervals.csv"):
        rest = (row["region"], float(row["uncertainty_pct"]), row["estimated"] == "true")
        one = Interval(moment(row["start"]), moment(row["end"]), int(row["energy_mj"]), *rest)
        energy.setdefault((row["job_id"], row["part"]), []).append(one)
    windows, best, sizes = (by_job(rows(folder, name)) for name in ("baselines.csv", "ceilings.csv", "sizes.csv"))
    contracts = Contracts(folder)
    ours = {}
    for job_id, against in windows.items():
        useful, overhead = (energy.get((job_id, part), []) for part in ("useful", "overhead"))
        ours[job_id] = {
            **figures(useful, overhead, against, best.get(job_id), sizes.get(job_id, []), slots, pue),
            **contracts.figures(useful + overhead, slots, pue),
        }
    report, manifest = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("report.json", "manifest.json")
    )
    if unknown := {*report["method"], *manifest["methods"]} - METHODS:
        raise ValueError(f"methods that this script does not know: {', '.join(sorted(unknown))}")
    wrong = list(changed_files(folder, manifest))
    if report["method"] != manifest["methods"]:
        wrong.append("methods: the report names others than the manifest")
    theirs = {line["id"]: said(line) for line in report["jobs"] if line["carbon_g"] is not None}
    wrong += [f"job {job_id}: in the report, not in the evidence" for job_id in theirs.keys() - ours.keys()]
    wrong += [f"job {job_id}: in the evidence, not in the report" for job_id in ours.keys() - theirs.keys()]
    for job_id in sorted(ours.keys() & theirs.keys()):
        wrong += differences(f"job {job_id}", ours[job_id], theirs[job_id])
    count = sum(len(found) for found in ours.values())
    for what, lines, totals in summed(report):
        sums = sums_of(lines, ours)
        wrong += differences(what, sums, said(totals))
        wrong += differences(f"{what}: foresight", foresight(lines, ours), totals["foresight"] or {})
        count += len(sums) + len(foresight(lines, ours))
    if {group["name"] for group in report["groups"]} != names_of_groups(report):
        wrong.append("groups: not those of the jobs in the report")
    wrong += differences("PUE", pue, {line["name"]: line["pue"] for line in report["regions"]})
    return count + len(pue), wrong


def summed(report):
    """(what, its jobs' lines, the sums that the report gives) of the whole report and of each group."""
    yield "totals", report["jobs"], report["totals"]
    for group in report["groups"]:
        lines = [line for line in report["jobs"] if belongs(line, report) == group["name"]]
        yield f"group {group['name']}", lines, group["totals"]


def names_of_groups(report):
    return {belongs(line, report) for line in report["jobs"]} if report["by"] else set()


def foresight(lines, ours):
    """What was promised, what came and what perfect foresight would have saved, of jobs that have all three."""
    both = [
        (ours[line["id"]], line["promised_saved_g"])
        for line in lines
        if line["finished_at"]
        and line["promised_saved_g"] is not None
        and "ceiling_saved_g" in ours.get(line["id"], {})
    ]
    if not both:
        return {}
    found = {name: sum(one[name] for one, _ in both) for name in ("baseline_g", "saved_g", "ceiling_saved_g")}
    promised = {"jobs": len(both), "promised_saved_g": sum(promised for _, promised in both)}
    return {**found, **promised, **pct_of("ceiling_pct", found["ceiling_saved_g"], found["baseline_g"])}


def by_job(found):
    """Rows of one job together, in their order."""
    jobs = {}
    for row in found:
        jobs.setdefault(row["job_id"], []).append(row)
    return jobs


def sums_of(lines, ours):
    """Figures summed over the jobs of some lines that have any, but for those that not all of them have."""
    found = [ours[line["id"]] for line in lines if line["id"] in ours]
    names = ["energy_kwh", "carbon_g", "baseline_g", "saved_g", "uncertainty_g", *LEVERS]
    names += [name for name in ("market_based_g", "hourly_matched_kwh") if found and all(name in one for one in found)]
    sums = {name: sum(one[name] for one in found) for name in names}
    counts = {"jobs": len(lines), "without_figures": len(lines) - len(found)}
    return {**sums, **counts, **pct_of("saved_pct", sums["saved_g"], sums["baseline_g"])}


def belongs(line, report):
    """The group that a job's line is summed in; months are those of the report's time zone."""
    by = report["by"]
    if by == "month":
        there = datetime.fromisoformat(line["submitted_at"]).astimezone(ZoneInfo(report["timezone"]))
        return there.strftime("%Y-%m")
    if by == "region":
        where = line["windows"] or line["uses"]
        return " → ".join(dict.fromkeys(one["region"] for one in where)) or "not run yet"
    return line[by]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python recompute.py DIR   (made by `kilowait report --evidence DIR`)", file=sys.stderr)
        return 2
    try:
        count, wrong = recompute(Path(arguments[0]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"{arguments[0]}: not the evidence of a report, or damaged: {error}", file=sys.stderr)
        return 2
    for line in wrong:
        print(line)
    print(f"not recomputed: {NOT_RECOMPUTED}")
    print(f"{count} figures recomputed, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
