"""The compiler of the kernels: numba, with its results kept on disk where that is possible.

The folder is beside the code, or in the user's cache where the installation is read-only, and named after the sources
of all kernels: what was compiled from other ones is never taken. Where nothing can be written each process compiles
anew; where numba has no wheel the kernels run as they are, slowly, with the same results.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])
_HERE = Path(__file__).parent
_SOURCES = ("jit.py", "arrays.py", "onepool.py", "kernels.py", "sweeps.py", "conflicts.py")

try:
    import numba
    from numba.core import config
except ImportError:
    COMPILED = False
else:
    COMPILED = True


def writable(bases: Sequence[Path]) -> Path | None:
    """A folder for compiled kernels in the first of `bases` that takes one; None where nothing can be written."""
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _SOURCES)).hexdigest()[:16]
    for base in bases:
        try:
            folder = base / f"kernels-{digest}"
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError:
            continue
        return folder
    return None


_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
_FOLDER = writable([_HERE / "__pycache__", _CACHE / "kilowait"]) if COMPILED else None


def jit(function: _F) -> _F:
    """`function` compiled at its first call, without holding the interpreter's lock while it runs."""
    return _compiled(function, inline="never")


def inlined(function: _F) -> _F:
    """The same, compiled into each that calls it: only to hand on all arrays costs most of a microsecond."""
    return _compiled(function, inline="always")


def _compiled(function: _F, *, inline: Literal["never", "always"]) -> _F:
    if not COMPILED:
        return function
    if _FOLDER is None:
        return cast(_F, numba.njit(nogil=True, inline=inline)(function))
    before = getattr(config, "CACHE_DIR", "")
    setattr(config, "CACHE_DIR", str(_FOLDER))  # noqa: B010 - numba makes its settings at run time
    try:
        return cast(_F, numba.njit(cache=True, nogil=True, inline=inline)(function))
    finally:
        setattr(config, "CACHE_DIR", before)  # noqa: B010
