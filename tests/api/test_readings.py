"""Readings from agents: a gzipped batch is stored once, and the answer says how far."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kilowait_agents.wire import Batch, Origin, Record, Share, pack
from world import START

from .conftest import Door

T0_US = (START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def record(seq: int, *, run_id: str = "kw-0a1-1", mj: int = 1000, epoch: str = "e1") -> Record:
    start = T0_US + seq * 10_000_000
    return Record(
        agent_id="node-1",
        boot_id="b",
        stream_epoch=epoch,
        seq=seq,
        device_uuid="GPU-0",
        device_name="H100",
        scope="gpu",
        t0_us=start,
        t1_us=start + 10_000_000,
        mono_dt_ns=10**10,
        energy_mj=mj,
        counter_end_mj=None,
        method="counter",
        quality="measured",
        uncertainty_pct=5.0,
        shares=(Share(run_id, None, mj, "exclusive"),),
        idle_mj=0,
        unattributed_mj=0,
    )


def batch(*records: Record) -> bytes:
    return pack(Batch(Origin("node-1", "node", "aa", "simulated"), T0_US, records))


def send(door: Door, body: bytes, *, token: str | None = None) -> tuple[int, dict[str, object]]:
    answer = door.call("POST", "/readings", content=body, headers={"Content-Encoding": "gzip"}, token=token)
    return answer.status_code, answer.json()


def test_a_batch_is_stored_once_and_the_answer_says_how_far(door: Door) -> None:
    agent = door.token("agent")
    body = batch(record(1), record(2))
    for _ in range(2):
        assert send(door, body, token=agent) == (200, {"stored_through": {"e1": 2}})
    assert send(door, batch(record(4), record(1, epoch="e2"))) == (200, {"stored_through": {"e1": 2, "e2": 1}})
    (region,) = door.world.server.store.region_energy()
    assert region.energy_mj == 4000


def test_a_run_id_alone_finds_its_job(door: Door) -> None:
    made = door.submit()
    send(door, batch(record(1, run_id=f"kw-{made['id']}-1", mj=777)))
    assert door.get(f"/jobs/{made['id']}/energy")["energy_mj"] == 777


def test_other_content_under_a_known_number_is_a_conflict(door: Door) -> None:
    send(door, batch(record(1)))
    status, problem = send(door, batch(record(1, mj=5)))
    assert status == 409
    assert "[1]" in str(problem["detail"])
    (region,) = door.world.server.store.region_energy()
    assert region.energy_mj == 1000, "kept as first said"


def test_a_batch_that_is_too_large_is_turned_away_unread(door: Door) -> None:
    status, problem = send(door, os.urandom(8 * 1024 * 1024 + 1))
    assert status == 413
    assert "fewer records" in str(problem["detail"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not json"),
        gzip.compress(b"{}"),
        gzip.compress(b" " * (9 * 1024 * 1024)),
        batch(record(1))[:-5],
        batch(record(1)) + b"more",
    ],
    ids=["nothing", "not gzip", "not json", "no batch", "a bomb", "cut short", "followed by more"],
)
def test_what_is_no_batch_is_a_bad_request_and_stores_nothing(door: Door, body: bytes) -> None:
    status, problem = send(door, body)
    assert status == 400
    assert problem["title"] == "bad input"
    assert door.world.server.store.region_energy() == []


def test_a_batch_that_does_not_add_up_is_refused_by_its_field(door: Door) -> None:
    good = batch(record(1))
    bad = gzip.compress(gzip.decompress(good).replace(b'"energy_mj":[1000]', b'"energy_mj":[999]', 1))
    status, problem = send(door, bad)
    assert status == 400
    assert "records[0].energy_mj" in str(problem["detail"])


def test_an_agent_of_another_release_is_told_so_and_not_that_its_records_are_bad(door: Door) -> None:
    status, problem = send(door, gzip.compress(b'{"version":1}'))
    assert (status, problem["title"]) == (426, "upgrade required")
    assert "run agent and server of the same release" in str(problem["detail"])


def test_an_agent_that_does_not_know_its_region_is_heard(door: Door) -> None:
    origin = replace(Origin("node-1", "node", "aa", "simulated"), region=None)
    assert send(door, pack(Batch(origin, T0_US, (record(1),))))[0] == 200
    assert [line.region for line in door.world.server.store.region_energy()] == ["unknown"]


def test_a_token_of_a_node_sends_only_that_node_s_readings(door: Door) -> None:
    made = door.call("POST", "/tokens", json={"name": "n", "role": "agent", "node": "node"}).json()
    assert send(door, batch(record(1)), token=made["secret"])[0] == 200
    origin = Origin("node-1", "another", "aa", "simulated")
    status, problem = send(door, pack(Batch(origin, T0_US, (record(2),))), token=made["secret"])
    assert status == 403
    assert "only send the readings of node node, not of another" in str(problem["detail"])
    assert send(door, batch(record(2)), token=made["secret"])[0] == 200


def test_a_token_of_a_node_cannot_speak_for_the_agent_of_another(door: Door) -> None:
    send(door, batch(record(1)))
    made = door.call("POST", "/tokens", json={"name": "n", "role": "agent", "node": "mine"}).json()
    forged = pack(Batch(Origin("node-1", "mine", "aa", "simulated"), T0_US, (record(2),)))
    assert send(door, forged, token=made["secret"])[0] == 403


def test_only_an_agent_s_token_is_bound_to_a_node(door: Door) -> None:
    assert door.call("POST", "/tokens", json={"name": "n", "role": "user", "node": "x"}).status_code == 400
