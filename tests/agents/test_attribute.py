from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.attribute import Holder, RunIdentity, attribute, holders_of

A, B = RunIdentity("run-a", "job-a"), RunIdentity("run-b", "job-b")

processes = st.lists(
    st.tuples(
        st.none() | st.builds(RunIdentity, st.sampled_from("pqrst"), st.none() | st.just("job")),
        st.none() | st.integers(min_value=0, max_value=1000),
    ),
    max_size=12,
)


@given(st.integers(min_value=0, max_value=2**60), st.none() | processes)
def test_shares_idle_and_unattributed_are_the_devices_energy_exactly(energy_mj: int, listed: list | None) -> None:  # type: ignore[type-arg]
    split = attribute(energy_mj, None if listed is None else holders_of(listed))
    assert sum(share.energy_mj for share in split.shares) + split.idle_mj + split.unattributed_mj == energy_mj
    assert len({share.run_id for share in split.shares}) == len(split.shares)


def test_a_run_alone_on_a_device_pays_for_all_of_it() -> None:
    (share,) = attribute(1001, holders_of([(A, None), (A, None)])).shares
    assert (share.run_id, share.job_id, share.energy_mj, share.basis) == ("run-a", "job-a", 1001, "exclusive")


def test_runs_share_by_weight_where_all_weights_are_known() -> None:
    split = attribute(1000, holders_of([(A, 10), (B, 30), (A, 60)]))
    assert [(share.run_id, share.energy_mj, share.basis) for share in split.shares] == [
        ("run-a", 700, "weight"),
        ("run-b", 300, "weight"),
    ]


def test_runs_share_equally_where_a_weight_is_not_known_however_many_ranks_they_have() -> None:
    split = attribute(1001, holders_of([(A, 10), (B, None), (A, 60), (A, 60)]))
    assert [(share.energy_mj, share.basis) for share in split.shares] == [(501, "equal"), (500, "equal")]


def test_processes_without_a_run_are_one_party_and_their_part_is_unattributed() -> None:
    split = attribute(900, holders_of([(None, None), (A, None), (None, None)]))
    assert (split.shares[0].energy_mj, split.unattributed_mj, split.idle_mj) == (450, 450, 0)


def test_a_device_held_only_by_strangers_is_unattributed_and_a_free_one_idle() -> None:
    assert attribute(5, (Holder(run=None),)).unattributed_mj == 5
    assert attribute(5, ()).idle_mj == 5


def test_a_device_whose_processes_are_not_known_is_not_called_idle() -> None:
    split = attribute(5, None)
    assert (split.unattributed_mj, split.idle_mj) == (5, 0)


def test_the_order_in_which_processes_are_listed_does_not_matter() -> None:
    assert holders_of([(B, 1), (None, 2), (A, 3)]) == holders_of([(A, 3), (B, 1), (None, 2)])
