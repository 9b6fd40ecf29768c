"""The search for cycles rests while a report is made, and goes on after it, however reports overlap or fail."""

from __future__ import annotations

import gc

import pytest

from kilowait_scheduler.service.collector import Collector


def test_it_rests_until_the_last_of_several_pauses_is_over() -> None:
    collector = Collector()
    first, second = collector.paused(), collector.paused()
    with first:
        second.__enter__()
        assert not gc.isenabled()
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_it_goes_on_after_a_report_that_failed_and_stays_off_where_it_was_off() -> None:
    collector = Collector()
    with pytest.raises(RuntimeError), collector.paused():
        raise RuntimeError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
