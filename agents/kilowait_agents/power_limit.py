"""A power limit for as long as this process lives: `python -m kilowait_agents.power_limit --watts 400`.

The one part of Kilowait that writes to a GPU. It is a process of its own, because only it needs the right to
(CAP_SYS_ADMIN); the agent never does. The limits found are written down before any is changed and are put back at the
end: by this process, by its guard if this one was killed, or at the next start (`--restore`) if both were. Exit codes:
0 put back, 1 failed, 2 bad input, 3 not permitted (and nothing changed).
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .duration import parse_duration
from .errors import Refused
from .stopping import Stop, on_signals

STATE = Path("/run/kilowait-power-limit.json")
_NO_PERMISSION = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Set, hold, put back; the exit code."""
    given = _parser().parse_args(argv)
    try:
        if given.guard is not None:
            _wait_for_the_end_of(given.guard)
        nvml = _opened()
        restore(nvml, given.state)  # of an earlier process, or of the one that was guarded
        if given.guard is not None or given.restore:
            return 0
        if given.watts is None:
            raise Refused("how much? give --watts N, or --restore")
        return _hold(nvml, given)
    except Refused as error:
        return _ended(2, str(error))
    except PermissionError as error:
        return _ended(3, str(error))
    except OSError as error:
        return _ended(1, str(error))


def _hold(nvml: Any, given: argparse.Namespace) -> int:
    handles = _handles(nvml, given.gpu)
    wanted_mw = round(1000 * given.watts)
    for uuid, handle in handles.items():
        low_mw, high_mw = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        if not low_mw <= wanted_mw <= high_mw:
            raise Refused(f"{uuid} takes {low_mw / 1000:g} to {high_mw / 1000:g} W, not {given.watts:g}")
    before = {uuid: int(nvml.nvmlDeviceGetPowerManagementLimit(handle)) for uuid, handle in handles.items()}
    _write(given.state, before)
    stop = Stop()
    with on_signals(stop.set):
        guard = _guard(given.state)
        try:
            for uuid, handle in handles.items():
                _set(nvml, handle, wanted_mw, uuid=uuid)
            sys.stderr.write(f"kilowait: {len(handles)} GPUs limited to {given.watts:g} W until this process ends\n")
            if given.duration is not None:
                stop.wait(parse_duration(given.duration))
            while given.duration is None and not stop.wait(3600):
                pass
        finally:
            restore(nvml, given.state)
            guard.kill()
            guard.wait()
    return 0


def restore(nvml: Any, state: Path) -> None:
    """Put back the limits that `state` remembers, if it is there; a GPU that is gone or refuses is said and skipped."""
    try:
        before = json.loads(state.read_text(encoding="ascii"))
    except FileNotFoundError:
        return
    except ValueError as error:
        raise OSError(f"{state} does not hold the limits of an earlier process: {error}; remove it") from error
    left: dict[str, int] = {}
    trouble: OSError | None = None
    for uuid, limit_mw in before.items():
        try:
            _set(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid), limit_mw, uuid=uuid)
        except (nvml.NVMLError, OSError) as error:
            if isinstance(error, OSError):  # it is there and keeps the changed limit: not to be forgotten
                left[uuid], trouble = limit_mw, error
            sys.stderr.write(f"kilowait: the limit of {uuid} cannot be put back to {limit_mw / 1000:g} W: {error}\n")
    if trouble is not None:
        _write(state, left)
        raise trouble
    state.unlink()


def _set(nvml: Any, handle: Any, limit_mw: int, *, uuid: str) -> None:
    try:
        nvml.nvmlDeviceSetPowerManagementLimit(handle, limit_mw)
    except nvml.NVMLError as error:
        if error.value == _NO_PERMISSION:
            raise PermissionError(f"the limit of {uuid} cannot be set: {error}; it takes CAP_SYS_ADMIN") from error
        raise OSError(f"the limit of {uuid} cannot be set: {error}") from error


def _guard(state: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own that puts the limits back should this one end without having done so."""
    words = ["-m", __spec__.name if __spec__ else "kilowait_agents.power_limit"]
    return subprocess.Popen(
        [sys.executable, *words, "--guard", str(os.getpid()), "--state", str(state)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for_the_end_of(pid: int) -> None:
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])


def _write(state: Path, before: dict[str, int]) -> None:
    draft = state.with_suffix(".tmp")
    with draft.open("w", encoding="ascii") as file:
        json.dump(before, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(state)


def _opened() -> Any:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise OSError(f"NVML does not work on this node: {error}") from error
    return pynvml


def _handles(nvml: Any, wanted: Sequence[str]) -> dict[str, Any]:
    found = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    handles = {str(nvml.nvmlDeviceGetUUID(handle)): handle for handle in found}
    for uuid in wanted:
        if uuid not in handles:
            raise Refused(f"there is no GPU {uuid}; there are {', '.join(handles) or 'none'}")
    return {uuid: handle for uuid, handle in handles.items() if not wanted or uuid in wanted}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kilowait-power-limit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watts", type=float, metavar="W", help="the limit, within what the boards take")
    parser.add_argument("--gpu", action="append", default=[], metavar="UUID", help="only this one (again for more)")
    parser.add_argument("--duration", metavar="8h", help="put the limits back after this time (default: when told to)")
    parser.add_argument("--restore", action="store_true", help="put back what an earlier process left, and end")
    parser.add_argument("--state", type=Path, default=STATE, metavar="FILE", help="the limits found (%(default)s)")
    parser.add_argument("--guard", type=int, help=argparse.SUPPRESS)
    return parser


def _ended(code: int, said: str) -> int:
    sys.stderr.write(f"kilowait: {' '.join(said.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
