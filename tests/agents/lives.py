"""An agent on a fake node in virtual time, through several lives: what the tests of whole stretches share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from fake_nvml import FakeNode
from kilowait_agents.agent import Agent, Stream
from kilowait_agents.attribute import RunIdentity
from kilowait_agents.cadence import Cadence
from kilowait_agents.life import Life
from kilowait_agents.nvml import NvmlMeter
from kilowait_agents.spool import Spool, SpoolLimits
from kilowait_agents.wire import Record


@dataclass
class Lives:
    """One agent after another on `node`, all with the same spool; a life ends without warning unless it is stopped."""

    node: FakeNode
    folder: Path
    runs: dict[int, RunIdentity] = field(default_factory=dict)
    boot_id: str = "boot-1"
    driver: str = ""
    interval_s: float = 1.0
    limits: SpoolLimits | None = None
    spool: Spool | None = None
    agent: Agent | None = None
    delivered: list[Record] = field(default_factory=list)
    born: int = 0

    def start(self) -> Agent:
        self.end()
        self.born += 1
        self.spool = Spool(self.folder, limits=self.limits, sync=lambda _: None)
        self.agent = Agent(
            meter=NvmlMeter(nvml=self.node.pynvml(), clock=self.node, wait=self.node.advance),
            identify=self.runs.get,
            alive=lambda pid: True,
            emit=self.spool.append,
            stream=Stream(agent_id="agent-1", stream_epoch=f"epoch-{self.born}"),
            life=lambda: Life(self.boot_id, self.driver),
            cadence=Cadence(interval_s=self.interval_s),
            now_us=self.node.now_us,
            started=lambda pid: self.node.start_ns(pid),
            resumes=self.spool.resumes,
        )
        return self.agent

    def run(self, until_s: float, *, flush_s: float = 5) -> None:
        """Look once a second, tick once an interval, up to `until_s` of the scenario."""
        agent = self.agent or self.start()
        flushed = ticked = self.node.now_s
        agent.tick()
        while self.node.now_s < until_s - 1e-9:
            self.node.at(min(until_s, self.node.now_s + min(1.0, self.interval_s)))
            if self.node.now_s - ticked < self.interval_s - 1e-9 and self.node.now_s < until_s - 1e-9:
                agent.look()
            else:
                agent.tick()
                ticked = self.node.now_s
            if self.node.now_s - flushed >= flush_s:
                agent.flush()
                flushed = self.node.now_s

    def end(self) -> None:
        """As kill -9 does: what is in memory is gone."""
        if self.spool is not None:
            self.spool.close()
        self.agent = self.spool = None

    def finish(self) -> list[Record]:
        """Stop the agent in order and deliver everything; all records that ever arrived."""
        assert self.agent is not None
        self.agent.close()
        self.deliver()
        self.end()
        return self.delivered

    def deliver(self) -> None:
        assert self.spool is not None
        while records := self.spool.head(500):
            self.spool.sending(records)
            self.spool.done(records)
            self.delivered += records


def of(records: Sequence[Record], uuid: str) -> list[Record]:
    return [record for record in records if record.device_uuid == uuid]


def energy_mj(records: Sequence[Record]) -> int:
    return sum(record.energy_mj for record in records)


def run_mj(records: Sequence[Record], run_id: str) -> int:
    return sum(share.energy_mj for record in records for share in record.shares if share.run_id == run_id)


def in_order(records: Sequence[Record]) -> bool:
    """Per device: one after another, without overlap and without holes."""
    return all(
        a.t1_us == b.t0_us
        for uuid in {record.device_uuid for record in records}
        for mine in [of(records, uuid)]
        for a, b in pairwise(mine)
    )
