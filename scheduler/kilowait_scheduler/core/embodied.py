"""Embodied carbon: the making of hardware, charged to whoever reserves it, by time and share. Never mixed with energy.

Method of the Software Carbon Intensity specification (ISO/IEC 21031): M = TE x TS x RS with TS = time reserved /
expected lifespan and RS = resources reserved / total resources. Delaying a job does not change it; holding a GPU does.
"""

from __future__ import annotations

from .ranges import Range

YEAR_H = 8760.0  # 365 days, as in the specification's example

# Years a GPU serves. Three: Boavizta's default for GPUs; four: the specification's example, and our default; six:
# BLOOM's accounting and AWS's amortisation of hardware.
LIFESPAN_YEARS = Range(3.0, 4.0, 6.0)


def gpu_hours_embodied_g(embodied_kg: Range, *, gpu_h: float) -> Range:
    """Grams CO2e of the making of GPUs of `embodied_kg` each that fall to `gpu_h` hours of one, over their lifespan."""
    return embodied_kg * (1000 * gpu_h) / (LIFESPAN_YEARS * YEAR_H)


def embodied_g(*, total_kg: float, reserved_h: float, lifespan_h: float, share: float = 1.0) -> float:
    """Grams CO2e of `total_kg` that fall to `reserved_h` hours of `share` of the device's resources (0..1)."""
    return 1000 * total_kg * (reserved_h / lifespan_h) * share
