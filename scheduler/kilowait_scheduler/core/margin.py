"""How much of a job's work to keep free before its deadline, learned from how long earlier ones really took."""

from __future__ import annotations

import math
from collections.abc import Sequence

_FEWEST = 5
_LEVEL = 0.95
_LEAST, _MOST = 0.02, 2.0


def learned_margin(ratios: Sequence[float], *, default: float) -> float:
    """Share of the declared work by which the next job of this class may overrun, as exceeded by 1 in 20.

    `ratios`: real over declared running time of earlier jobs. The order statistic at rank (n+1) x 0.95 holds for the
    next draw whatever the distribution (split conformal prediction); with too few for that rank the worst one seen is
    taken and a tenth added. Fewer than five say nothing: `default`.
    """
    known = sorted(ratio for ratio in ratios if math.isfinite(ratio) and ratio > 0)
    if len(known) < _FEWEST:
        return default
    rank = math.ceil((len(known) + 1) * _LEVEL)
    over = known[rank - 1] - 1 if rank <= len(known) else 1.1 * max(known[-1], 1.0) - 1
    return min(max(over, _LEAST), _MOST)
