from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.attribute import Attribution, Holder, RunIdentity, attribute, holders_of
from kilowait_agents.meter import Part, Process

A, B = RunIdentity("run-a", "job-a"), RunIdentity("run-b", "job-b")

parts = st.none() | st.builds(Part, instance=st.integers(0, 6), slices=st.integers(1, 4))
processes = st.lists(
    st.tuples(
        st.none() | st.builds(RunIdentity, st.sampled_from("pqrst"), st.none() | st.just("job")),
        st.builds(Process, pid=st.integers(1, 99), weight=st.none() | st.integers(0, 1000), part=parts),
    ),
    max_size=12,
)


def held(*weights: tuple[RunIdentity | None, int | None]) -> tuple[Holder, ...]:
    return holders_of((run, Process(pid, weight=weight)) for pid, (run, weight) in enumerate(weights, start=1))


def parts_of(split: Attribution) -> tuple[list[int], int, int]:
    return [share.energy_mj for share in split.shares], split.idle_mj, split.unattributed_mj


@given(
    st.integers(0, 2**50),
    st.none() | processes,
    st.none() | st.integers(0, 2**50),
    st.sampled_from([0, 4, 7]),
)
def test_shares_idle_and_unattributed_are_the_devices_energy_exactly(
    energy_mj: int,
    listed: list | None,
    idle_mj: int | None,
    slices: int,  # type: ignore[type-arg]
) -> None:
    holders = None if listed is None else holders_of(listed)
    split = attribute(energy_mj, holders, idle_mj=idle_mj, slices=slices)
    assert sum(share.energy_mj for share in split.shares) + split.idle_mj + split.unattributed_mj == energy_mj
    assert len({share.run_id for share in split.shares}) == len(split.shares)
    assert min([split.idle_mj, split.unattributed_mj, *(share.energy_mj for share in split.shares)]) >= 0


@given(processes, st.integers(0, 2**40))
def test_how_many_ranks_a_run_has_on_a_node_never_multiplies_its_energy(listed: list, energy_mj: int) -> None:  # type: ignore[type-arg]
    once, thrice = holders_of(listed), holders_of(listed * 3)
    assert [holder.run for holder in once] == [holder.run for holder in thrice]
    assert sum(share.energy_mj for share in attribute(energy_mj, thrice).shares) <= energy_mj


def test_what_the_device_draws_idle_is_shared_equally_and_only_the_rest_by_work() -> None:
    split = attribute(1000, held((A, 90), (B, 10)), idle_mj=400)
    assert parts_of(split) == ([200 + 540, 200 + 60], 0, 0)


def test_parts_of_a_cut_device_pay_by_their_slices_and_free_slices_idle() -> None:
    listed = [
        (A, Process(1, part=Part(instance=(1, 0), slices=3))),
        (A, Process(2, part=Part(instance=(1, 0), slices=3))),
        (B, Process(3, part=Part(instance=(2, 0), slices=1))),
    ]
    split = attribute(1100, holders_of(listed), idle_mj=700, slices=7)
    assert parts_of(split) == ([300 + 300, 100 + 100], 300, 0)
    assert {share.basis for share in split.shares} == {"slice"}


def test_a_run_alone_on_a_part_does_not_pay_for_the_parts_that_nobody_holds() -> None:
    split = attribute(700, holders_of([(A, Process(1, part=Part((1, 0), 2)))]), idle_mj=700, slices=7)
    assert parts_of(split) == ([200], 500, 0)


def test_a_run_alone_on_a_device_pays_for_all_of_it() -> None:
    (share,) = attribute(1001, held((A, None), (A, None))).shares
    assert (share.run_id, share.job_id, share.energy_mj, share.basis) == ("run-a", "job-a", 1001, "exclusive")


def test_runs_share_by_weight_where_all_weights_are_known() -> None:
    split = attribute(1000, held((A, 10), (B, 30), (A, 60)))
    assert [(share.run_id, share.energy_mj, share.basis) for share in split.shares] == [
        ("run-a", 700, "weight"),
        ("run-b", 300, "weight"),
    ]


def test_a_run_that_did_nothing_is_said_to_have_held_the_device_idle() -> None:
    def bases(*weights: tuple[RunIdentity | None, int | None]) -> list[str]:
        return [share.basis for share in attribute(1000, held(*weights), idle_mj=400).shares]

    assert bases((A, 0)) == ["held_idle"]
    assert bases((A, None)) == ["exclusive"], "not known is not nothing"
    assert bases((A, 0), (B, 9)) == ["held_idle", "weight"]
    assert bases((A, 0), (B, 0)) == ["held_idle", "held_idle"]
    assert bases((A, 0), (B, None)) == ["equal", "equal"]


def test_runs_share_equally_where_a_weight_is_not_known_however_many_ranks_they_have() -> None:
    split = attribute(1001, held((A, 10), (B, None), (A, 60), (A, 60)))
    assert [(share.energy_mj, share.basis) for share in split.shares] == [(501, "equal"), (500, "equal")]


def test_processes_without_a_run_are_one_party_and_their_part_is_unattributed() -> None:
    split = attribute(900, held((None, None), (A, None), (None, None)))
    assert (split.shares[0].energy_mj, split.unattributed_mj, split.idle_mj) == (450, 450, 0)


def test_a_device_held_only_by_strangers_is_unattributed_and_a_free_one_idle() -> None:
    assert attribute(5, (Holder(run=None),)).unattributed_mj == 5
    assert attribute(5, ()).idle_mj == 5


def test_a_device_whose_processes_are_not_known_is_not_called_idle() -> None:
    split = attribute(5, None)
    assert (split.unattributed_mj, split.idle_mj) == (5, 0)


def test_the_order_in_which_processes_are_listed_does_not_matter() -> None:
    assert held((B, 1), (None, 2), (A, 3)) == held((A, 3), (B, 1), (None, 2))
