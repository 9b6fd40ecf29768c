"""What a lever really saved: by the energy for the same work, and by the grid, which add up to all of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from advised import facts
from kilowait_scheduler.advisor.advise import advise
from kilowait_scheduler.advisor.compare import Outcome, compare
from kilowait_scheduler.advisor.facts import Facts
from kilowait_scheduler.advisor.lever import Kind
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.state import Phase


def outcome(one: Facts, two: Facts, *, work: float = 1.0, applied: tuple[Kind, ...] = ()) -> Outcome:
    return compare(advise(one), one, two, work=work, applied=applied)


BEFORE = {"g": [650.0] * 60}


def test_a_limit_is_seen_and_its_saving_stands_beside_the_prediction() -> None:
    found = outcome(facts(BEFORE), facts({"g": [520.0] * 66}, job_id="b"))
    assert found.shown_by == "seen in the two records"
    (cap,) = found.applied
    assert cap.kind is Kind.POWER_CAP and cap.energy_kwh is not None
    assert cap.measured_kwh == pytest.approx(0.650 - 0.520 * 1.1)
    assert cap.energy_kwh.low < cap.measured_kwh < cap.energy_kwh.high
    assert cap.measured_g == pytest.approx(300 * cap.measured_kwh)
    assert found.uncertainty_kwh == pytest.approx(0.05 * (0.65 + 0.572))


def test_a_person_may_say_which_lever_was_used_and_how_much_work_the_other_did() -> None:
    found = outcome(facts(BEFORE), facts({"g": [650.0] * 100}, job_id="b"), work=2.0, applied=(Kind.LARGER_BATCH,))
    assert found.shown_by == "named"
    assert found.saved_kwh == pytest.approx(0.65 - 0.65 * 100 / 60 / 2)
    assert found.applied[0].energy_kwh is None, "nothing had been predicted of it"


def test_a_saving_that_did_not_come_is_negative_and_no_lever_is_invented() -> None:
    found = outcome(facts(BEFORE), facts({"g": [650.0] * 70}, job_id="b"))
    assert found.saved_kwh < 0
    assert not found.applied
    assert found.shown_by == "no lever is seen in the two records"


def test_a_wider_choice_of_regions_is_measured_by_the_grid() -> None:
    two = facts(BEFORE, grid={"aa": [200.0]}, job_id="b", regions=("aa", "bb"))
    found = outcome(facts(BEFORE), two)
    assert [one.kind for one in found.applied] == [Kind.MORE_REGIONS]
    assert found.applied[0].measured_g == pytest.approx(65)
    assert found.by_energy_g == pytest.approx(0)


@example(watts=100, minutes=1, grams=1, other_grams=95, work=0.5)  # what rounding a part once broke
@given(st.integers(100, 690), st.integers(1, 90), st.integers(1, 500), st.integers(1, 500), st.floats(0.1, 5))
@settings(max_examples=40, deadline=None)
def test_the_part_by_energy_and_the_part_by_the_grid_add_up(
    watts: int, minutes: int, grams: int, other_grams: int, work: float
) -> None:
    one = facts(BEFORE, grid={"aa": [float(grams)]})
    two = facts({"g": [float(watts)] * minutes}, grid={"aa": [float(other_grams)]}, job_id="b")
    found = outcome(one, two, work=work, applied=(Kind.POWER_CAP,))
    assert one.carbon_g is not None and two.carbon_g is not None
    assert found.saved_g == pytest.approx(one.carbon_g - two.carbon_g / work)


def test_only_jobs_of_one_name_that_succeeded_are_compared() -> None:
    one = facts(BEFORE)
    with pytest.raises(BadInput, match="another job"):
        outcome(one, facts(BEFORE, job_id="b", name="other"))
    with pytest.raises(BadInput, match="same job"):
        outcome(one, one)
    with pytest.raises(BadInput, match="not succeeded"):
        outcome(one, facts(BEFORE, job_id="b", state={"phase": Phase.FAILED}))
