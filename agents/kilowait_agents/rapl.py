"""The RAPL meter: energy of CPU packages from Linux's powercap files; read-only, on Intel and AMD."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .anchors import Resume
from .clock import Clock
from .errors import Permanent
from .meter import Device, Process
from .reading import Reading
from .wire import Source

POWERCAP = Path("/sys/class/powercap")

_MOST_W = (
    1000  # more than any package draws; a counter cannot have wrapped unseen in less time than this takes to fill it
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Package:
    device: Device
    energy: Path
    range_uj: int
    last_uj: int
    whole_uj: int
    """As if it never wrapped; the same as what the file says, give or take whole ranges."""
    read_ns: int
    """When `last_uj` was read."""
    era: int = 0
    """How many times it may have wrapped unseen."""
    late: bool = False
    """It may have before the last reading."""
    trouble: bool = False

    @property
    def sure_ns(self) -> int:
        """After longer than this, nobody knows how often it has wrapped."""
        return self.range_uj * 1000 // _MOST_W


class RaplMeter:
    """One device per CPU package; `root` is /sys/class/powercap, or where a container has the host's.

    The counter of the files wraps at a range that a busy package fills in minutes (about 262 kJ); it is unwound here,
    which takes a reading at least once in that time: after longer no difference can be had, and another era begins.
    Only packages are read: their parts are contained in them, and the platform's own zone (psys) contains them. Whose
    processes used a package is not known here. Raises Permanent, saying why, where no package can be read.
    """

    def __init__(self, *, node: str, clock: Clock, root: Path = POWERCAP) -> None:
        self._clock = clock
        self._packages: list[_Package] = []
        why = f"{root} has no intel-rapl zones; the kernel or the container does not show them"
        for zone in sorted(root.glob("intel-rapl:*")):
            try:
                name = (zone / "name").read_text(encoding="ascii").strip()
                if not name.startswith("package"):
                    continue
                range_uj = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
                first_uj = int((zone / "energy_uj").read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                # Without its range a wrap cannot be told from nonsense, so such a zone is not read at all.
                why = f"{zone} cannot be read: {error}; energy counters are for root only since Linux 5.10"
                _log.warning("%s", why)
                continue
            if range_uj <= 0:
                why = f"{zone} says that its range is {range_uj}"
                continue
            device = Device(uuid=f"CPU-{node}-{name}", index=len(self._packages), name=f"CPU {name}")
            self._packages.append(
                _Package(
                    device,
                    zone / "energy_uj",
                    range_uj=range_uj,
                    last_uj=first_uj,
                    whole_uj=first_uj,
                    read_ns=clock.mono_ns(),
                )
            )
        if not self._packages:
            raise Permanent(why)

    @property
    def source(self) -> Source:
        return "rapl"

    def devices(self) -> Sequence[Device]:
        return [package.device for package in self._packages]

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        """Counters move every millisecond, so they are always exact."""
        return [
            Reading(
                device_uuid=package.device.uuid,
                name=package.device.name,
                scope="cpu",
                counter_mj=self._counter_mj(package),
                counter_era=package.era,
                power_mw=None,
                t_us=self._clock.now_us(),
                mono_ns=self._clock.mono_ns(),
            )
            for package in self._packages
            if only is None or package.device.uuid in only
        ]

    def go_on(self, found: Mapping[str, Resume], *, boot_id: str) -> dict[str, Resume]:
        """Where each account can be taken up, by where an earlier life of the agent stopped (`found`).

        Within the time that the counter needs to wrap, on the same boot, it tells what was used meanwhile. After longer
        nobody knows how often it wrapped, and after a boot not from where it began: that time is a gap.
        """
        resumes: dict[str, Resume] = {}
        for package in self._packages:
            resume = found.get(package.device.uuid)
            if resume is None:
                continue
            anchor = resume.anchor
            away_ns = 1000 * (self._clock.now_us() - anchor.t_us)
            sure = anchor.boot_id == boot_id and 0 <= away_ns < package.sure_ns
            if sure and anchor.counter_mj is not None:
                before_uj = 1000 * anchor.counter_mj
                package.whole_uj = before_uj + (package.last_uj - before_uj) % package.range_uj
            else:
                anchor = replace(anchor, boot_id=boot_id, counter_mj=None, credit_mj=0)
            resumes[package.device.uuid] = replace(resume, anchor=anchor)
        return resumes

    def processes(self) -> Mapping[str, Sequence[Process]]:
        return {}

    def close(self) -> None:
        """Nothing is held."""

    def _counter_mj(self, package: _Package) -> int | None:
        try:
            now_uj = int(package.energy.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            if not package.trouble:
                _log.warning("%s cannot be read: %s", package.energy, error)
            package.trouble = True
            return None
        package.trouble = False
        now_ns = self._clock.mono_ns()
        was_late, package.late = package.late, now_ns - package.read_ns >= package.sure_ns
        if package.late:
            package.era += 1
            if not was_late:
                _log.warning(
                    "%s was not read for %d s and may have wrapped unseen: that time is a gap; an --interval below "
                    "%d s measures it",
                    package.energy, (now_ns - package.read_ns) // 10**9, package.sure_ns // 10**9,
                )  # fmt: skip
        # Also then, for the next life of the agent: what the file says, give or take whole ranges.
        package.whole_uj += (now_uj - package.last_uj) % package.range_uj
        package.last_uj, package.read_ns = now_uj, now_ns
        return package.whole_uj // 1000
