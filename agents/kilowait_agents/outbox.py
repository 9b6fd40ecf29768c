"""Outbox: records that wait for the server. The protocol, and the queue in memory."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from .energy import kwh
from .wire import Record

_log = logging.getLogger(__name__)


class Outbox(Protocol):
    """Records in the order in which they were made, until the server holds them. Safe between threads."""

    def append(self, records: Sequence[Record]) -> None:
        """Take new records in."""
        ...

    def head(self, limit: int) -> list[Record]:
        """The oldest records, at most `limit`; they stay."""
        ...

    def ack(self, stream_epoch: str, seq: int) -> None:
        """Let go of the records of this epoch up to and with `seq`; the server holds them."""
        ...

    def remove(self, records: Collection[Record]) -> None:
        """Let go of exactly these, wherever they stand."""
        ...

    def __len__(self) -> int: ...


class MemoryOutbox:
    """An outbox in memory, of at most `capacity` records; what it holds ends with the process.

    When it is full the oldest records go, because the newest are what people wait for; `lost_records` and `lost_mj`
    count them, and the server sees the hole in their numbers.
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._records: deque[Record] = deque()
        self._lock = threading.Lock()
        self.lost_records = 0
        self.lost_mj = 0

    def append(self, records: Sequence[Record]) -> None:
        with self._lock:
            self._records.extend(records)
            while len(self._records) > self._capacity:
                lost = self._records.popleft()
                self.lost_records += 1
                self.lost_mj += lost.energy_mj
                if self.lost_records.bit_count() == 1:  # 1, 2, 4, ...: said at once, and not once a second
                    _log.error(
                        "the queue is full (%d records); lost so far: %d records, %.3f kWh",
                        self._capacity, self.lost_records, kwh(self.lost_mj),
                    )  # fmt: skip

    def head(self, limit: int) -> list[Record]:
        with self._lock:
            return [self._records[index] for index in range(min(limit, len(self._records)))]

    def ack(self, stream_epoch: str, seq: int) -> None:
        with self._lock:
            self._records = deque(
                record for record in self._records if record.stream_epoch != stream_epoch or record.seq > seq
            )

    def remove(self, records: Collection[Record]) -> None:
        keys = {(record.stream_epoch, record.seq) for record in records}
        with self._lock:
            self._records = deque(record for record in self._records if (record.stream_epoch, record.seq) not in keys)

    def __len__(self) -> int:
        return len(self._records)
