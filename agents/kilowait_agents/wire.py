"""What travels from an agent to the server: interval records in batches, as versioned JSON. Pure.

`POST /api/v1/readings` takes one `Batch`, gzipped (`pack`): a head, and the values of its records and of their shares
by column, so that hundreds of records are read in a dozen steps rather than in thousands. The server reads it with
`unpack` or, at speed, with `wire_columns`, stores all of its records or none, and answers
`{"stored_through": {stream_epoch: seq}}`: for every stream epoch of the batch the highest sequence number up to which
it holds everything (0: nothing). Numbers start at 1 and have no holes within an epoch, unless the agent had to set a
record aside. A record is one fact under one key, (agent_id, stream_epoch, seq): stored once, however often it arrives;
the same key with another content is an error of the sender.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from .errors import OtherVersion, Refused

VERSION = 2
MAX_RECORDS = 1000
"""Records in one batch; agents send fewer."""
MAX_BYTES = 8 * 1024 * 1024
"""Size of a batch's JSON before compression; 1000 records of eight shares take about 2 MB."""

Source = Literal["nvml", "amdsmi", "rapl", "model", "simulated"]
"""Which kind of meter; decides whether anybody may call the numbers measured."""
Scope = Literal["gpu", "module", "cpu", "host"]
"""What the numbers cover: the GPU board, a whole module (Grace CPU and GPU together), a CPU package, or a machine
without its GPUs."""
Method = Literal["counter", "power_avg", "power_inst", "model"]
"""Difference of an energy counter; integral of averaged or instantaneous power; a model."""
Quality = Literal["measured", "recovered", "estimated", "gap"]
"""Seen as it happened; the sum known but not its course; stood in for; not known (the energy is a place holder)."""
Basis = Literal["exclusive", "weight", "slice", "equal", "held_idle"]
"""Why a run got its share: it had the device alone, by its processes' work, by its slices of it, or in equal parts;
`held_idle`: it held the device and did nothing on it all the while."""

SCOPES, METHODS, QUALITIES, BASES = (frozenset(get_args(one)) for one in (Scope, Method, Quality, Basis))
_T = TypeVar("_T")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
LONGEST_NS = 2**63 - 1  # 2^53 ns would be 104 days, and nodes are switched off for longer
LARGEST = 2**53 - 1  # exact in JSON everywhere; year 2255 in µs, 2.5 GWh in mJ; a thousand of them fit into a BIGINT
_GZIP = 16 + zlib.MAX_WBITS


@lru_cache(maxsize=4096)
def valid_id(text: str) -> bool:
    """Whether `text` may name an agent, node, region, device, run or job: a letter or digit, then up to 127 of
    letters, digits and `._:-`."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Share:
    """A run's part of a record's energy; `job_id` is None where the process named only its run."""

    run_id: str
    job_id: str | None
    energy_mj: int
    basis: Basis

    def __post_init__(self) -> None:
        if (
            _is_id(self.run_id)
            and (self.job_id is None or _is_id(self.job_id))
            and _is_amount(self.energy_mj)
            and _is_one_of(self.basis, BASES)
        ):
            return
        _check_id(self.run_id, field="run_id")
        if self.job_id is not None:
            _check_id(self.job_id, field="job_id")
        _check_amount(self.energy_mj, field="energy_mj")
        _check_choice(self.basis, field="basis", choices=get_args(Basis))


@dataclass(frozen=True, slots=True)
class Record:
    """Energy of one device over [t0_us, t1_us), and who used it. Refuses to exist if the parts do not add up.

    Times are microseconds since 1970 UTC on the batch's clock; `mono_dt_ns` is the length by the clock that never
    steps. `boot_id` is the boot and, after a colon, the load of the driver in it, where that is known.
    `counter_end_mj` is the meter's counter at the end, None where it is not known. In a gap `energy_mj` is 0 and means
    nothing; its shares say who held the device meanwhile.
    """

    agent_id: str
    boot_id: str
    stream_epoch: str
    seq: int
    device_uuid: str
    device_name: str
    scope: Scope
    t0_us: int
    t1_us: int
    mono_dt_ns: int
    energy_mj: int
    counter_end_mj: int | None
    method: Method
    quality: Quality
    uncertainty_pct: float
    shares: tuple[Share, ...]
    idle_mj: int
    unattributed_mj: int
    note: str | None = None

    def __post_init__(self) -> None:
        if not self._is_plain():
            self._check()
        if self.t0_us >= self.t1_us:
            raise _refused("t1_us", f"must be after t0_us {self.t0_us}, got {self.t1_us}")
        if self.quality == "gap" and self.energy_mj:
            raise _refused("energy_mj", f"must be 0 in a gap, where nothing is known, got {self.energy_mj}")
        if len(self.shares) > 1:
            runs = [share.run_id for share in self.shares]
            if len(set(runs)) < len(runs):
                raise _refused("shares", f"must name each run once, got {', '.join(runs)}")
        parts = sum([share.energy_mj for share in self.shares]) + self.idle_mj + self.unattributed_mj
        if parts != self.energy_mj:
            raise _refused(
                "energy_mj", f"must equal shares + idle_mj + unattributed_mj = {parts}, got {self.energy_mj}"
            )

    def _is_plain(self) -> bool:
        """Every field is of its kind; the quick way to what `_check` says field by field (servers read thousands)."""
        return (
            _is_id(self.agent_id)
            and _is_id(self.boot_id)
            and _is_id(self.stream_epoch)
            and _is_id(self.device_uuid)
            and _is_amount(self.t0_us)
            and _is_amount(self.t1_us)
            and _is_amount(self.mono_dt_ns, most=LONGEST_NS)
            and _is_amount(self.energy_mj)
            and _is_amount(self.idle_mj)
            and _is_amount(self.unattributed_mj)
            and _is_amount(self.seq)
            and self.seq > 0
            and (self.counter_end_mj is None or _is_amount(self.counter_end_mj))
            and is_text(self.device_name)
            and (self.note is None or is_text(self.note))
            and _is_one_of(self.scope, SCOPES)
            and _is_one_of(self.method, METHODS)
            and _is_one_of(self.quality, QUALITIES)
            and type(self.uncertainty_pct) is float
            and 0 <= self.uncertainty_pct <= 1e6
        )

    def _check(self) -> None:
        for name in ("agent_id", "boot_id", "stream_epoch", "device_uuid"):
            _check_id(getattr(self, name), field=name)
        for name in ("t0_us", "t1_us", "energy_mj", "idle_mj", "unattributed_mj"):
            _check_amount(getattr(self, name), field=name)
        _check_amount(self.mono_dt_ns, field="mono_dt_ns", most=LONGEST_NS)
        _check_amount(self.seq, field="seq", least=1)
        if self.counter_end_mj is not None:
            _check_amount(self.counter_end_mj, field="counter_end_mj")
        _check_text(self.device_name, field="device_name")
        if self.note is not None:
            _check_text(self.note, field="note")
        _check_choice(self.scope, field="scope", choices=get_args(Scope))
        _check_choice(self.method, field="method", choices=get_args(Method))
        _check_choice(self.quality, field="quality", choices=get_args(Quality))
        _check_number(self.uncertainty_pct, field="uncertainty_pct")

    @classmethod
    def from_dict(cls, message: object) -> Record:
        """The reverse of `to_dict`. Raises Refused, naming the field, for anything that is not exactly a record."""
        plain = _members(message, required=_RECORD_FIELDS)
        shares = plain["shares"]
        if not isinstance(shares, list):
            raise _refused("shares", f"must be a list, got {_shown(shares)}")
        plain["shares"] = tuple([_within("shares", index, _share, one) for index, one in enumerate(shares)])
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, in the order of the fields."""
        plain = dict(zip(_RECORD_FIELDS, _RECORD_VALUES(self), strict=True))
        plain["shares"] = [
            {"job_id": share.job_id, "run_id": share.run_id, "energy_mj": share.energy_mj, "basis": share.basis}
            for share in self.shares
        ]
        return plain


_RECORD_FIELDS = tuple(field.name for field in fields(Record))
_RECORD_VALUES = attrgetter(*_RECORD_FIELDS)
_SHARE_FIELDS = tuple(field.name for field in fields(Share))

Columns = dict[str, list[Any]]
"""Values by field, one for each record, or one for each share."""

RECORD_COLUMNS = tuple(name for name in _RECORD_FIELDS if name not in ("agent_id", "shares"))
SHARE_COLUMNS = ("record", *_SHARE_FIELDS)
"""`record` is the place in the batch of the record whose share it is; those of one record stand together."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records come from and how to take them; the head of every batch.

    `clock_speed` is 1 on real hardware in real time. Above 1 a demonstration runs faster than the day: times and
    energy are those of the compressed day, not of the wall socket.
    """

    agent_id: str
    node: str
    region: str | None
    source: Source
    clock_speed: float = 1.0

    def __post_init__(self) -> None:
        _check_id(self.agent_id, field="agent_id")
        _check_id(self.node, field="node")
        if self.region is not None:
            _check_id(self.region, field="region")
        _check_choice(self.source, field="source", choices=get_args(Source))
        _check_number(self.clock_speed, field="clock_speed")
        if not self.clock_speed:
            raise _refused("clock_speed", "must be above 0; 1 is real time")


_HEAD_FIELDS = ("version", *(field.name for field in fields(Origin)), "sent_at_us", "records", "shares")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one agent, in the order in which they were made; `sent_at_us` is on the clock of the records."""

    origin: Origin
    sent_at_us: int
    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        _check_amount(self.sent_at_us, field="sent_at_us")
        _check_count(len(self.records))
        keys = set()
        for index, record in enumerate(self.records):
            if record.agent_id != self.origin.agent_id:
                raise _refused(
                    f"records[{index}].agent_id", f"must be the batch's {self.origin.agent_id}, got {record.agent_id}"
                )
            keys.add((record.stream_epoch, record.seq))
        if len(keys) < len(self.records):
            raise _refused("records", "must not hold the same stream_epoch and seq twice")

    def to_json(self) -> str:
        """The batch as compact JSON."""
        records, shares = self.columns()
        message = {
            "version": VERSION,
            "agent_id": self.origin.agent_id,
            "node": self.origin.node,
            "region": self.origin.region,
            "source": self.origin.source,
            "clock_speed": self.origin.clock_speed,
            "sent_at_us": self.sent_at_us,
            "records": records,
            "shares": shares,
        }
        return json.dumps(message, separators=(",", ":"), allow_nan=False)

    def columns(self) -> tuple[Columns, Columns]:
        """The values of the records and of their shares."""
        shares = [(place, share) for place, record in enumerate(self.records) for share in record.shares]
        return (
            {name: list(map(attrgetter(name), self.records)) for name in RECORD_COLUMNS},
            {"record": [place for place, _ in shares]}
            | {name: [getattr(share, name) for _, share in shares] for name in _SHARE_FIELDS},
        )

    @classmethod
    def of(cls, opened: Opened) -> Batch:
        """The batch in `opened`. Raises Refused, naming the field, for anything that is not exactly one."""
        given = [dict(zip(RECORD_COLUMNS, row, strict=True)) for row in zip(*opened.records.values(), strict=True)]
        shares: list[list[object]] = [[] for _ in given]
        at = 0
        for place, *share in zip(*opened.shares.values(), strict=True):
            if type(place) is not int or not at <= place < len(given):
                raise _refused("shares.record", f"must rise from 0 to {len(given) - 1}, got {_shown(place)}")
            at = place
            shares[place].append(dict(zip(_SHARE_FIELDS, share, strict=True)))
        whole = [
            {**record, "agent_id": opened.origin.agent_id, "shares": several}
            for record, several in zip(given, shares, strict=True)
        ]
        records = [_within("records", index, Record.from_dict, one) for index, one in enumerate(whole)]
        return cls(origin=opened.origin, sent_at_us=opened.sent_at_us, records=tuple(records))


class Opened(NamedTuple):
    """A batch as it came: its columns are there and equally long, and their values not looked at yet."""

    origin: Origin
    sent_at_us: int
    records: Columns
    shares: Columns


def pack(batch: Batch) -> bytes:
    """The body of the POST: gzipped JSON, the same bytes for the same batch."""
    squeeze = zlib.compressobj(level=6, wbits=_GZIP)
    return squeeze.compress(batch.to_json().encode()) + squeeze.flush()


def unpack(body: bytes, *, max_bytes: int = MAX_BYTES) -> Batch:
    """The batch in a gzipped body. Raises Refused if it is damaged, too large once unpacked, or no batch."""
    return Batch.of(open_batch(body, max_bytes=max_bytes))


def open_batch(body: bytes, *, max_bytes: int = MAX_BYTES) -> Opened:
    """What is in a gzipped body. Raises Refused as `unpack` does, and OtherVersion for a batch of another release."""
    text = _unzipped(body, max_bytes)
    try:
        message = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not a batch of readings: {error}; send JSON in UTF-8") from error
    version = message.get("version") if isinstance(message, dict) else None
    if type(version) is int and version != VERSION:
        what = f"version must be {VERSION}, got {version}; run agent and server of the same release"
        raise OtherVersion(what, field="version")
    plain = _members(message, required=_HEAD_FIELDS)
    if type(version) is not int:
        raise _refused("version", f"must be {VERSION}, got {_shown(version)}")
    _check_amount(plain["sent_at_us"], field="sent_at_us")
    records = _columns(plain["records"], of="records", names=RECORD_COLUMNS)
    _check_count(len(records["seq"]))
    shares = _columns(plain["shares"], of="shares", names=SHARE_COLUMNS)
    origin = Origin(**{field.name: plain[field.name] for field in fields(Origin)})
    return Opened(origin, plain["sent_at_us"], records, shares)


def _columns(given: object, *, of: str, names: Sequence[str]) -> Columns:
    try:
        plain = _members(given, required=names)
    except Refused as error:
        field = f"{of}.{error.field}" if error.field else of
        raise Refused(f"{of}.{error}" if error.field else f"{of} {error}", field=field) from error
    for name in names:
        if not isinstance(plain[name], list):
            raise _refused(f"{of}.{name}", f"must be a list, got {_shown(plain[name])}")
        if len(plain[name]) != len(plain[names[0]]):
            raise _refused(
                f"{of}.{name}",
                f"must have as many values as {of}.{names[0]}, {len(plain[names[0]])}, got {len(plain[name])}",
            )
    return {name: plain[name] for name in names}


def _unzipped(body: bytes, max_bytes: int) -> bytes:
    stretch = zlib.decompressobj(wbits=_GZIP)
    try:
        text = stretch.decompress(body, max_bytes)
    except zlib.error as error:
        raise Refused(f"the body is not gzip: {error}; send Content-Encoding: gzip") from error
    if stretch.unconsumed_tail or (not stretch.eof and len(text) >= max_bytes):
        raise Refused(f"the batch is larger than {max_bytes} bytes unpacked; send fewer records")
    if not stretch.eof or stretch.unused_data:
        raise Refused("the gzipped body is cut short or followed by something else; send it whole")
    return text


def _share(message: object) -> Share:
    return Share(**_members(message, required=_SHARE_FIELDS))


def _within(of: str, index: int, parse: Callable[[object], _T], message: object) -> _T:
    """`parse(message)`, with its place `of[index]` in front of the field that a refusal names."""
    try:
        return parse(message)
    except Refused as error:
        place = f"{of}[{index}]"
        field = f"{place}.{error.field}" if error.field else place
        raise Refused(f"{place}.{error}" if error.field else f"{place} {error}", field=field) from error


def _members(message: object, *, required: Sequence[str]) -> dict[str, Any]:
    """The object's members; Refused if it is none, if one is missing, or if one is there that we do not know."""
    if not isinstance(message, dict):
        raise Refused(f"must be an object, got {_shown(message)}")
    if len(message) == len(required) and all(map(message.__contains__, required)):
        return dict(message)
    for name in required:
        if name not in message:
            raise _refused(name, "is missing")
    for name in message:
        if name not in required:
            raise _refused(str(name)[:40], "is not known here; run agent and server of the same release")
    return dict(message)


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_RECORDS:
        raise _refused("records", f"must hold 1 to {MAX_RECORDS} records, got {count}")


def _is_id(value: object) -> bool:
    return type(value) is str and valid_id(value)


def _is_amount(value: object, *, most: int = LARGEST) -> bool:
    return type(value) is int and 0 <= value <= most


def is_text(value: object) -> bool:
    """Whether `value` may be shown to people and kept in a database: printable, at most 300 characters."""
    return type(value) is str and len(value) <= 300 and value.isprintable()


def _is_one_of(value: object, choices: frozenset[str]) -> bool:
    return type(value) is str and value in choices


def _check_id(value: object, *, field: str) -> None:
    if not isinstance(value, str) or not valid_id(value):
        raise _refused(field, f"must match {_ID.pattern}, got {_shown(value)}")


def _check_text(value: object, *, field: str) -> None:
    # Printable: a NUL or half a surrogate pair is accepted by JSON and refused by databases.
    if not isinstance(value, str) or len(value) > 300 or not value.isprintable():
        raise _refused(field, f"must be printable text of at most 300 characters, got {_shown(value)}")


def _check_amount(value: object, *, field: str, least: int = 0, most: int = LARGEST) -> None:
    if type(value) is not int or not least <= value <= most:
        raise _refused(field, f"must be a whole number from {least} to 2^{most.bit_length()} - 1, got {_shown(value)}")


def _check_number(value: object, *, field: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1e6:
        raise _refused(field, f"must be a number from 0 to 1e6, got {_shown(value)}")


def _check_choice(value: object, *, field: str, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise _refused(field, f"must be one of {', '.join(choices)}, got {_shown(value)}")


def _refused(field: str, what: str) -> Refused:
    return Refused(f"{field} {what}", field=field)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is given twice in one object")
    return members
