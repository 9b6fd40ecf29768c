"""Zones and signals: the ids that are taken, the combinations that are refused."""

from __future__ import annotations

import pytest

from kilowait_forecasters.errors import Refused, SignalMismatch, Transient
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Kind, Scope, Signal
from kilowait_forecasters.zone import Zone


@pytest.mark.parametrize("zone_id", ["DE", "US-CAL-CISO", "EM3Y_US-CAL-CISO", "DK-DK2"])
def test_provider_spellings_of_zones_are_taken_as_they_are(zone_id: str) -> None:
    assert str(Zone(zone_id)) == zone_id


@pytest.mark.parametrize("zone_id", ["", "DE\n", " DE", "2022-GB", "D/E", "DÉ", "A" * 41])
def test_an_id_that_is_no_zone_is_refused_with_an_example(zone_id: str) -> None:
    with pytest.raises(Refused, match="US-CAL-CISO"):
        Zone(zone_id)


def test_a_signal_is_read_back_from_its_own_spelling() -> None:
    for kind in Kind:
        for scope in Scope:
            assert Signal.parse(str(Signal(kind, scope))) == Signal(kind, scope)


def test_lifecycle_and_direct_never_meet() -> None:
    AVERAGE_DIRECT.require(AVERAGE_DIRECT)
    with pytest.raises(SignalMismatch, match="average/lifecycle and average/direct"):
        AVERAGE_LIFECYCLE.require(AVERAGE_DIRECT)


def test_a_transient_error_carries_the_wish_of_the_source() -> None:
    assert Transient("busy", retry_after_s=30).retry_after_s == 30
    assert Transient("busy").retry_after_s is None
