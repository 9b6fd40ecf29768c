"""Integer millijoules: exact splits and the energy under a power curve. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .errors import Refused

MJ_PER_KWH = 3_600_000_000  # 1 kWh = 3.6 MJ (megajoules) = 3.6e9 mJ (millijoules), exact
_NS_PER_S = 1_000_000_000


def split_mj(total_mj: int, weights: Sequence[int]) -> list[int]:
    """`total_mj` in proportion to `weights`, as integers that add up to it exactly (largest remainder).

    Weights are whole numbers >= 0; where all are zero the parts are equal. Left-over millijoules go to the largest
    remainders, then to the earlier weight, so the same input always gives the same split. Every part is within 1 mJ of
    its exact share. Raises Refused for a negative total or weight, and for energy with nobody to take it.
    """
    if total_mj < 0:
        raise Refused(f"cannot split {total_mj} mJ; energy is never negative", field="total_mj")
    if any(weight < 0 for weight in weights):
        raise Refused(f"cannot split by {list(weights)}; a weight is never negative", field="weights")
    if not weights:
        if total_mj:
            raise Refused(f"cannot split {total_mj} mJ among nobody; give at least one weight", field="weights")
        return []
    used = list(weights) if any(weights) else [1] * len(weights)
    whole = sum(used)
    parts = [total_mj * weight // whole for weight in used]
    by_remainder = sorted(range(len(used)), key=lambda index: (-(total_mj * used[index] % whole), index))
    for index in by_remainder[: total_mj - sum(parts)]:
        parts[index] += 1
    return parts


def trapezoid_mj(curve: Sequence[tuple[int, int]]) -> int:
    """Energy in mJ under `curve`, points of (monotonic ns, power in mW) in order of time; rounded once, to the nearest.

    Linear between the points. A curve of fewer than two points has no length and therefore no energy.
    """
    twice_mw_ns = sum((p0 + p1) * (t1 - t0) for (t0, p0), (t1, p1) in pairwise(curve))
    return (twice_mw_ns + _NS_PER_S) // (2 * _NS_PER_S)


def kwh(energy_mj: int) -> float:
    """Kilowatt-hours, for display only; sums are made in mJ."""
    return energy_mj / MJ_PER_KWH
