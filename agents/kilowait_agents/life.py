"""Which life of a machine's counters a number belongs to: the boot, and the load of the driver that counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .wire import Source

MODULES = Path("/sys/module")
_DRIVERS: dict[Source, str] = {"nvml": "nvidia", "amdsmi": "amdgpu"}


class Life(NamedTuple):
    """A boot, and a load of the driver in it; `driver` is empty where the kernel does not tell one from another."""

    boot: str
    driver: str = ""

    @property
    def text(self) -> str:
        """As records name it (`boot_id`)."""
        return f"{self.boot}:{self.driver}" if self.driver else self.boot

    @classmethod
    def of(cls, text: str) -> Life:
        """The reverse of `text`."""
        boot, _, driver = text.partition(":")
        return cls(boot, driver)

    def reloaded_since(self, before: Life) -> bool:
        """The driver was loaded anew on the same boot, as far as the kernel told either time."""
        return self.boot == before.boot and "" not in (self.driver, before.driver) and self.driver != before.driver


def boot_id() -> str:
    """The kernel's name of this boot; `unknown` where it gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def life_of(source: Source, *, modules: Path = MODULES) -> Callable[[], Life]:
    """Tells the life of the counters that a meter reads, as of now.

    A module gets a new node in sysfs whenever it is loaded, and nodes are numbered; their time stamps say when somebody
    first looked, so they tell nothing.
    """
    boot = boot_id()
    driver = _DRIVERS.get(source)
    if driver is None:
        return lambda: Life(boot)
    module = modules / driver

    def now() -> Life:
        try:
            return Life(boot, str(module.stat().st_ino))
        except OSError:
            return Life(boot)

    return now
