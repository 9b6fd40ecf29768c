"""The candidate that forecasts what each source generates, and from that what all of it emits.

Wind, sun and load each depend on weather and calendar in their own ways, much of it in straight lines; what they emit
together, over what they generate together, does not. Forecast one by one they find bends that a line through the
logarithm of intensity misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .features import Features, Whole
from .hours import Floats
from .ridge import Ridge

# No source is forecast below this share of generation: what all emit together stays above nothing.
_LEAST_SHARE = 1e-6
# No source departs by more than so many times the load: one that does was misreported.
_MOST = 1.0


def departures(features: Features, origins: Whole, leads: Whole) -> dict[str, Floats]:
    """By source, how far its generation departed from its anchor, over the anchor of the load: shape (origins, leads).

    The anchor is the mean of the same hour of day over the last seven days. NaN where the intensity is not known; where
    generation alone is not, it is the filled one.
    """
    at = np.minimum(origins[:, None] + leads, features.count - 1)
    known = np.isfinite(features.truth(origins, leads))
    anchors = _anchors(features, origins, leads)
    load = features.week_before(features.load, origins, leads)
    return {
        name: np.where(known, np.clip((features.generation[name][at] - anchor) / load, -_MOST, _MOST), np.nan)
        for name, anchor in anchors.items()
    }


@dataclass(frozen=True)
class BySource:
    """A ridge for the departure of each source, and what a unit of it emits, which is learned too."""

    ridges: Mapping[str, Ridge]
    emits: Floats

    @classmethod
    def fit(cls, ridges: Mapping[str, Ridge], features: Features) -> BySource:
        """`ridges` by source of `features`; what a unit emits is what explains its intensity best, never below 0."""
        # Takes a second to import, as in boosting.
        from sklearn.linear_model import LinearRegression

        known = np.isfinite(features.target)
        shares = np.stack([features.generation[name][known] / features.load[known] for name in ridges], axis=-1)
        line = LinearRegression(positive=True, fit_intercept=False).fit(shares, np.exp(features.target[known]))
        return cls(ridges, np.asarray(line.coef_))

    def predict(self, features: Features, x: Floats, origins: Whole, leads: Whole) -> Floats:
        """Log intensity, shape (origins, leads), with `x` (origins, leads, columns) of the same `features`.

        What the plants of the anchor would emit stands for the anchor's own intensity: what imports, or plants that are
        not reported, add to both is left as it was.
        """
        anchors = np.stack(list(_anchors(features, origins, leads).values()), axis=-1)
        load = features.week_before(features.load, origins, leads)[..., None]
        departed = np.stack([ridge.predict(x) for ridge in self.ridges.values()], axis=-1)
        least = _LEAST_SHARE * load
        generation = np.maximum(anchors + load * departed, least)
        change = self._log_intensity(generation) - self._log_intensity(np.maximum(anchors, least))
        return features.anchor(origins, leads) + change

    def _log_intensity(self, generation: Floats) -> Floats:
        least = _LEAST_SHARE * max(float(self.emits.max()), _LEAST_SHARE)
        return np.asarray(np.log(np.maximum(generation @ self.emits / generation.sum(axis=-1), least)))


def _anchors(features: Features, origins: Whole, leads: Whole) -> dict[str, Floats]:
    return {name: features.week_before(values, origins, leads) for name, values in features.generation.items()}
