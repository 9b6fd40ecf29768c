"""Which meter this node has: the one asked for, or the best that is there; said once, with the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .amd import open_amd
from .clock import Clock
from .errors import Permanent, Refused
from .host_model import HostModel
from .meter import Meter
from .nvml import NvmlMeter, open_nvml
from .owners import Owners
from .rapl import RaplMeter
from .settings import Settings
from .simulated import SimulatedMeter

_log = logging.getLogger(__name__)


def open_meter(settings: Settings, *, owners: Owners, clock: Clock) -> Meter:
    """The meter that the settings name. Raises Refused, saying what is missing, if it cannot be had."""
    real: dict[str, tuple[str, Callable[[], Meter]]] = {
        "nvml": ("NVML", lambda: open_nvml(clock=clock)),
        "amd": ("AMD", lambda: open_amd(clock=clock)),
        "rapl": ("RAPL", lambda: RaplMeter(node=settings.node, clock=clock, root=settings.powercap)),
        "host": (
            "a MODEL of the machine without its GPUs",
            lambda: HostModel(
                node=settings.node, clock=clock, idle_w=settings.host_idle_w, busy_w=settings.host_busy_w
            ),
        ),
    }
    reasons: list[str] = []
    for kind in {"auto": ("nvml", "amd"), "simulated": ()}.get(settings.meter, (settings.meter,)):
        name, opened = real[kind]
        try:
            meter = opened()
        except Permanent as error:
            reasons.append(str(error))
            continue
        if isinstance(meter, NvmlMeter):
            meter.learn_ticks()
        if meter.devices() or (isinstance(meter, NvmlMeter) and meter.broken):
            _log.info("meter: %s, %d devices", name, len(meter.devices()))
            return meter
        meter.close()
        reasons.append(f"{name} lists no GPU on this node")
    why = "; ".join(reasons) or "asked for"
    if settings.meter not in ("auto", "simulated"):
        raise Refused(f"--meter {settings.meter} cannot be had: {why}")
    _log.info("meter: SIMULATED, %d GPUs; no real energy is measured (%s)", settings.sim_gpus, why)
    return SimulatedMeter(
        node=settings.node,
        gpus=settings.sim_gpus,
        clock=clock,
        runs=owners.scan,
        busy_w=settings.sim_busy_w,
        idle_w=settings.sim_idle_w,
    )
