"""From readings to intervals: how much energy a device drew between two moments, and how sure we are. Pure.

The counter is the truth wherever it can be had: its differences telescope, so nothing is lost at any polling rate.
Power is integrated only where there is no counter to trust. What nobody saw is a gap, said as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from .energy import trapezoid_mj
from .reading import Reading
from .wire import LARGEST, Method, Quality, Scope

# Stated accuracy of the boards' power sensors, which the counter is built from (energy.md 3 and 3a). The edges of an
# interval (one counter tick, about 100 ms) are not in it: they cancel between adjoining records.
COUNTER_UNCERTAINTY_PCT = 5.0
POWER_AVERAGE_UNCERTAINTY_PCT = (
    7.0  # + 2: the trapezoid over 1 s averages, worst seen 0.28 % (energy.md 5a), rounded up
)
POWER_INSTANT_UNCERTAINTY_PCT = 30.0  # instantaneous power at 1 Hz was off by up to 29 % on spiky loads (energy.md 5a)
MODEL_UNCERTAINTY_PCT = 50.0  # servers of one size differ by that much
UNKNOWN_PCT = 100.0

_STILL_MW = 1000  # below 1 W a counter that does not move is right


class Interval(NamedTuple):
    """Energy of one device on [t0_us, t1_us), in mJ; `mono_dt_ns` is its length by the clock that never steps.

    In a gap nothing is known: its `energy_mj` of 0 is a place holder, and readers look at `quality` before they add.
    """

    device_uuid: str
    device_name: str
    scope: Scope
    t0_us: int
    t1_us: int
    mono_dt_ns: int
    energy_mj: int
    counter_end_mj: int | None
    method: Method
    quality: Quality
    uncertainty_pct: float
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When to wait, when to doubt, when to give up; nanoseconds on the clock of the readings."""

    max_gap_ns: int = 10_000_000_000
    """Longest step over which power may be drawn as a straight line, and a counter's absence is waited out."""
    stall_ns: int = 2_000_000_000
    """A counter that stands still this long under load is stalled (energy.md 7d)."""
    hold_ns: int = 900_000_000_000
    """How long a silent device is waited for: if it comes back with its counter, no energy was lost."""
    slack_ns: int = 300_000_000
    """Allowance for counter ticks when an increase is compared with what the board can draw (energy.md 7d)."""
    power_limit_mw: int = 3_000_000
    """What the device can draw at most; the default is above any board or module sold, for devices that do not say."""

    def at_cadence(self, interval_s: float) -> Limits:
        """The same for counters that are read every `interval_s`: two readings apart is nothing unusual."""
        return replace(self, max_gap_ns=max(self.max_gap_ns, round(2.5 * interval_s * 1e9)))

    def at_speed(self, speed: float) -> Limits:
        """The same patience on a clock that runs `speed` times as fast."""
        return replace(
            self,
            max_gap_ns=round(self.max_gap_ns * speed),
            stall_ns=round(self.stall_ns * speed),
            hold_ns=round(self.hold_ns * speed),
            slack_ns=round(self.slack_ns * speed),
        )

    def with_power_limit(self, limit_mw: int | None) -> Limits:
        """The same for a device whose board can be set to at most `limit_mw`; None leaves the general bound."""
        return self if limit_mw is None else replace(self, power_limit_mw=limit_mw)

    def plausible_mj(self, elapsed_ns: int) -> int:
        """The most a counter can have gained in `elapsed_ns`: 1.2 times the power limit (energy.md 7d)."""
        return self.power_limit_mw * (elapsed_ns + self.slack_ns) * 12 // 10 // 1_000_000_000


class Integrator:
    """One device's readings in, its adjoining intervals out.

    Keeps the readings since the last interval's end, and for how long and with how much estimated energy its counter
    has stood still.
    """

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._samples: list[Reading] = []
        self._credit_mj: int | None = None
        self._still_ns = 0
        self._resumed: str | None = None
        self._restarted = False

    def restart(self) -> None:
        """The counter has begun anew since the last reading, whatever the next one shows."""
        self._restarted = True

    def resume(self, start: Reading, *, credit_mj: int, note: str) -> None:
        """Go on from where another life of the agent stopped; the first interval says so with `note`."""
        self._samples, self._credit_mj, self._resumed = [start], credit_mj or None, note
        self._still_ns = max(0, start.mono_ns)  # the wall clock may have been set back; the boot was not later

    @property
    def start_us(self) -> int | None:
        """Where the next interval begins; None before the first reading."""
        return self._samples[0].t_us if self._samples else None

    def push(self, reading: Reading) -> Interval | None:
        """The interval that `reading` closes, or None while it is too early to say.

        Readings that do not come after the one before are dropped: they have no length.
        """
        if reading.counter_mj is not None and reading.counter_mj > LARGEST:
            # More than any can have reached: drivers have filled fields that they did not know with ones.
            reading = reading._replace(counter_mj=None)
        if self._samples:
            before = self._samples[-1]
            if reading.t_us <= before.t_us or reading.mono_ns <= before.mono_ns:
                return None
        self._samples.append(reading)
        if len(self._samples) < 2:
            return None
        return self._settle(final=False)

    def close(self) -> Interval | None:
        """The interval still open, settled with what is known now; for the end of the process."""
        if len(self._samples) < 2:
            return None
        return self._settle(final=True)

    def _settle(self, *, final: bool) -> Interval | None:
        interval = integrate(
            self._samples,
            limits=self._limits,
            credit_mj=self._credit_mj,
            still_ns=self._still_ns,
            restarted=self._restarted,
            final=final,
        )
        if interval is None:
            return None
        first, last = self._samples[0], self._samples[-1]
        stands_still = (
            not self._restarted
            and first.counter_mj is not None
            and first.counter_mj == last.counter_mj
            and first.counter_era == last.counter_era
        )
        if not stands_still:
            self._credit_mj = None
        elif self._credit_mj is not None or interval.quality != "measured":  # which an idle one may be
            self._credit_mj = (self._credit_mj or 0) + interval.energy_mj
        self._still_ns = self._still_ns + interval.mono_dt_ns if stands_still else 0
        self._samples, self._restarted = [last], False
        if self._resumed is not None:
            interval = interval._replace(
                quality="recovered" if interval.quality == "measured" else interval.quality,
                note=interval.note or self._resumed,
            )
            self._resumed = None
        return interval


def integrate(
    samples: Sequence[Reading],
    *,
    limits: Limits,
    credit_mj: int | None = None,
    still_ns: int = 0,
    restarted: bool = False,
    final: bool = False,
) -> Interval | None:
    """Energy from the first to the last of `samples` (two or more readings of one device, in order).

    None means: hold, the next reading will tell more (a counter that may come back or has not ticked yet); with
    `final` an answer is given at once. `credit_mj` is energy already reported by power (0 in a gap) since the counter
    last moved, `still_ns` ago; it is taken off when the counter turns out to have gone on meanwhile. None: it moved.
    `restarted` says that the counter began anew in between, which shows only where it is lower than before.
    """
    first, last = samples[0], samples[-1]
    elapsed_ns = last.mono_ns - first.mono_ns
    if last.silent:
        if elapsed_ns <= limits.hold_ns and not final:
            return None
        return _gap(samples, note="the device did not answer")
    if first.counter_mj is None:
        return _by_power(samples, limits=limits)
    if last.counter_mj is None:
        if elapsed_ns <= limits.max_gap_ns and not final:
            return None
        return _by_power(samples, limits=limits, note="the energy counter did not answer")
    if first.counter_era != last.counter_era:
        return _by_power(samples, limits=limits, note="the energy counter may have wrapped unseen")
    gained_mj = last.counter_mj - first.counter_mj
    if gained_mj < 0 or restarted:
        return _after_restart(samples, limits=limits)
    if gained_mj == 0 and _draws(samples):
        if elapsed_ns > limits.stall_ns:
            return _by_power(samples, limits=limits, note=f"the energy counter stands still at {last.counter_mj} mJ")
        if not final:
            return None
    if gained_mj and credit_mj is not None:
        return _moving_again(samples, limits=limits, credit_mj=credit_mj, still_ns=still_ns)
    if gained_mj > limits.plausible_mj(elapsed_ns + still_ns):
        return _implausible(samples, limits=limits)
    if last.modelled:
        return _interval(
            samples,
            energy_mj=gained_mj,
            method="model",
            quality="estimated",
            uncertainty_pct=MODEL_UNCERTAINTY_PCT,
        )
    return _interval(
        samples,
        energy_mj=gained_mj,
        method="counter",
        quality="recovered" if elapsed_ns > limits.max_gap_ns else "measured",
        uncertainty_pct=COUNTER_UNCERTAINTY_PCT,
    )


def _draws(samples: Sequence[Reading]) -> bool:
    powers = [sample.power_mw for sample in samples if sample.power_mw is not None]
    return bool(powers) and min(powers) > _STILL_MW


def _power_energy(samples: Sequence[Reading], *, limits: Limits) -> int | None:
    """Energy by the power curve in mJ; None if an end has no power or a step is too long to draw a line over."""
    curve = [(sample.mono_ns, sample.power_mw) for sample in samples if sample.power_mw is not None]
    if samples[0].power_mw is None or samples[-1].power_mw is None:
        return None
    if any(later - earlier > limits.max_gap_ns for (earlier, _), (later, _) in pairwise(curve)):
        return None
    return trapezoid_mj(curve)


def _by_power(samples: Sequence[Reading], *, limits: Limits, note: str | None = None) -> Interval:
    energy_mj = _power_energy(samples, limits=limits)
    if energy_mj is None:
        return _gap(samples, note=note)
    averaged = all(sample.power_kind == "average" for sample in samples if sample.power_mw is not None)
    # A board without a counter, read by averages, is measured as well as it can be; everything else stands in for
    # a counter that should have been there, or samples a curve that moves faster than we look.
    return _interval(
        samples,
        energy_mj=energy_mj,
        method="power_avg" if averaged else "power_inst",
        quality="measured" if averaged and all(sample.counter_mj is None for sample in samples) else "estimated",
        uncertainty_pct=POWER_AVERAGE_UNCERTAINTY_PCT if averaged else POWER_INSTANT_UNCERTAINTY_PCT,
        note=note,
    )


def _after_restart(samples: Sequence[Reading], *, limits: Limits) -> Interval:
    """The counter began anew: what it shows was drawn since; what came before that can only be estimated."""
    first, last = samples[0], samples[-1]
    assert last.counter_mj is not None
    note = f"the energy counter restarted: {first.counter_mj} mJ before, {last.counter_mj} mJ now"
    elapsed_ns = last.mono_ns - first.mono_ns
    if last.counter_mj > limits.plausible_mj(elapsed_ns):  # not counted from zero: it is no account of this interval
        return _by_power(samples, limits=limits, note=note)
    by_power = _by_power(samples, limits=limits, note=note)
    if by_power.quality == "gap" and not last.counter_mj:  # nothing since its restart says nothing of before
        return by_power
    if by_power.quality != "gap" and by_power.energy_mj >= last.counter_mj:
        return by_power
    return _interval(
        samples,
        energy_mj=last.counter_mj,
        method="counter",
        quality="estimated",
        uncertainty_pct=UNKNOWN_PCT if by_power.quality == "gap" else by_power.uncertainty_pct,
        note=note,
    )


def _moving_again(samples: Sequence[Reading], *, limits: Limits, credit_mj: int, still_ns: int) -> Interval:
    """The counter moves again after `credit_mj` were reported while it stood still, for `still_ns`.

    Either it caught up, and the estimate is in what it gained: then their sum is right. Or it went on where it stopped,
    some time in this interval: then what it gained is only a part of it. Power tells which; without it the cautious
    answer is that it caught up.
    """
    first, last = samples[0], samples[-1]
    assert first.counter_mj is not None
    assert last.counter_mj is not None
    gained_mj = last.counter_mj - first.counter_mj
    energy_mj, uncertainty_pct = max(0, gained_mj - credit_mj), COUNTER_UNCERTAINTY_PCT
    quality: Quality = "recovered"
    note = "the energy counter moves again"
    by_power = _by_power(samples, limits=limits, note=note)
    if by_power.quality == "gap":
        quality, uncertainty_pct = "estimated", UNKNOWN_PCT
    elif abs(gained_mj - by_power.energy_mj) < abs(energy_mj - by_power.energy_mj):
        energy_mj = max(gained_mj, by_power.energy_mj)
        quality, uncertainty_pct = "estimated", by_power.uncertainty_pct
    if energy_mj > limits.plausible_mj(last.mono_ns - first.mono_ns + still_ns):
        return _implausible(samples, limits=limits)
    return _interval(
        samples,
        energy_mj=energy_mj,
        method="counter",
        quality=quality,
        uncertainty_pct=uncertainty_pct,
        note=note,
    )


def _implausible(samples: Sequence[Reading], *, limits: Limits) -> Interval:
    note = f"implausible: the energy counter went from {samples[0].counter_mj} to {samples[-1].counter_mj} mJ"
    return _by_power(samples, limits=limits, note=note)


def _gap(samples: Sequence[Reading], *, note: str | None) -> Interval:
    return _interval(
        samples,
        energy_mj=0,
        method="power_inst" if samples[-1].counter_mj is None else "counter",
        quality="gap",
        uncertainty_pct=UNKNOWN_PCT,
        note=note or "no reading to tell the energy from",
    )


def _interval(
    samples: Sequence[Reading],
    *,
    energy_mj: int,
    method: Method,
    quality: Quality,
    uncertainty_pct: float,
    note: str | None = None,
) -> Interval:
    first, last = samples[0], samples[-1]
    return Interval(
        device_uuid=last.device_uuid,
        device_name=last.name,
        scope=last.scope,
        t0_us=first.t_us,
        t1_us=last.t_us,
        mono_dt_ns=last.mono_ns - first.mono_ns,
        energy_mj=energy_mj,
        counter_end_mj=last.counter_mj,
        method=method,
        quality=quality,
        uncertainty_pct=uncertainty_pct,
        note=note,
    )
