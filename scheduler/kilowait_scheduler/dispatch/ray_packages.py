"""The archive of a working directory: the same folder gives the same bytes, and the bytes give the name.

Made on the user's machine, kept by the server, uploaded to each cluster that needs it. Left out are, as by Ray's own
client, what .gitignore and .rayignore files and runtime_env's `excludes` say, and what never belongs into a job. They
are one list of rules, `excludes` last, so that `excludes: ["!build/"]` takes along what git ignores.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from . import ignore_rules
from .executor import Refused

# What Ray's dashboard takes in one request (DASHBOARD_CLIENT_MAX_SIZE in Ray 2.60).
MAX_PACKAGE_BYTES: Final = 100 * 1024 * 1024

# What Ray's own client leaves out, and caches of tools: they belong to the machine they are on.
_NEVER: Final = {".git", ".hg", ".svn", ".venv", "venv", "__pycache__", ".ipynb_checkpoints", ".DS_Store"}
_CACHES: Final = {".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", "node_modules"}

# The earliest time that a ZIP archive can hold; the files' own times would make every copy of a folder another package.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = 6


def package_name(data: bytes) -> str:
    """The name under which Ray keeps an archive: it must start with _ray_pkg_, and follows from the bytes alone."""
    return f"_ray_pkg_{hashlib.sha256(data).hexdigest()[:32]}.zip"


def pack(folder: Path, archive: Path, *, excludes: Sequence[str] = (), limit_bytes: int = MAX_PACKAGE_BYTES) -> str:
    """Write the archive of `folder` to `archive` and give its package name.

    Refused (and no archive) if the folder is none, holds nothing, holds a link to a folder or a file that cannot be
    read, or if the archive gets larger than `limit_bytes`; the message then names what is largest.
    """
    if not folder.is_dir():
        raise Refused(f"working_dir {folder} is not a folder", reason="working_dir")
    sizes: Counter[str] = Counter()
    try:
        with archive.open("wb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as zipped:
            for name, path in _walk(folder, excludes=ignore_rules.parse(excludes), leave_out=archive.resolve()):
                top, written = name.split("/")[0], out.tell()

                def check(top: str = top, written: int = written) -> None:
                    # Checked as it grows: a forgotten data set would fill the disk first.
                    if out.tell() > limit_bytes:
                        raise _too_large(folder, sizes + Counter({top: out.tell() - written}), limit_bytes=limit_bytes)

                _copy(zipped, name, path, check=check)
                sizes[top] += out.tell() - written
        if not sizes:
            raise Refused(f"working_dir {folder} holds no file to send (see its .gitignore)", reason="working_dir")
        if archive.stat().st_size > limit_bytes:  # the archive's own directory comes last
            raise _too_large(folder, sizes, limit_bytes=limit_bytes)
        return package_name(archive.read_bytes())
    except BaseException:
        archive.unlink(missing_ok=True)
        raise


def unsendable(runtime_env: Mapping[str, Any]) -> str:
    """What in a runtime_env cannot work when it is sent to a cluster, most of all files of the submitting machine.

    A sentence, or "" if all is well. Ray accepts such a submission and fails the run afterwards, with a traceback.
    """
    env_vars = runtime_env.get("env_vars") or {}
    if not isinstance(env_vars, Mapping) or not all(isinstance(value, str) for value in env_vars.values()):
        return "runtime_env.env_vars must map names to strings; put numbers in quotes"
    folders = {"working_dir": runtime_env.get("working_dir")}
    modules = runtime_env.get("py_modules") or []
    folders |= {f"py_modules[{index}]": module for index, module in enumerate(modules) if isinstance(modules, list)}
    for key, value in folders.items():
        if value is not None and not (isinstance(value, str) and "://" in value):
            return f"runtime_env.{key} is {str(value)!r}, which the cluster cannot see; give a URI of an archive"
    for key in ("pip", "uv", "conda"):
        value = runtime_env.get(key)
        # A bare name is an environment of the cluster for conda; pip and uv take a list or a mapping.
        if isinstance(value, str) and (key != "conda" or value.endswith((".yml", ".yaml"))):
            return f"runtime_env.{key} names the file {value!r}, which the cluster cannot see; write out what it holds"
    return ""


def _walk(
    folder: Path,
    base: str = "",
    *,
    rules: tuple[ignore_rules.Rule, ...] = (),
    excludes: tuple[ignore_rules.Rule, ...],
    leave_out: Path,
) -> Iterator[tuple[str, Path]]:
    """(name in the archive, path) of all files to send, folder by folder in the order of their names."""
    try:
        for own in (folder / ".gitignore", folder / ".rayignore"):
            if own.is_file():
                rules = (*rules, *ignore_rules.parse(own.read_text(errors="replace").splitlines(), base=base))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise Refused(f"{folder} cannot be read: {error.strerror}; exclude it", reason="working_dir") from error
    for entry in entries:
        name = f"{base}{entry.name}"
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _NEVER | _CACHES or entry.name.endswith(".pyc"):
            continue
        if ignore_rules.ignored(name, folder=is_folder, rules=(*rules, *excludes)):
            continue
        path = Path(entry.path)
        if is_folder:
            yield from _walk(path, f"{name}/", rules=rules, excludes=excludes, leave_out=leave_out)
        elif entry.is_symlink() and entry.is_dir():
            raise Refused(f"{path} is a link to a folder; exclude it or copy the folder here", reason="working_dir")
        elif path.resolve() != leave_out:
            yield name, path


def _copy(zipped: zipfile.ZipFile, name: str, path: Path, *, check: Callable[[], None]) -> None:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Refused(f"{path} is not a regular file; exclude it", reason="working_dir")
        info = zipfile.ZipInfo(name, date_time=_EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        # Only whether it may be executed is the program's business; the rest is the umask of whoever checked it out.
        info.external_attr = (stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)) << 16
        info.create_system = 3  # Unix, wherever it is made, so that the mode counts
        with path.open("rb") as source, zipped.open(info, "w") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
                check()
    except OSError as error:
        detail = error.strerror or type(error).__name__
        raise Refused(f"{path} cannot be read: {detail}; mend or exclude it", reason="working_dir") from error


def _too_large(folder: Path, sizes: Counter[str], *, limit_bytes: int) -> Refused:
    largest = ", ".join(f"{name} ({size / 2**20:.1f} MiB)" for name, size in sizes.most_common(3))
    return Refused(
        f"working_dir {folder} makes a package of more than {limit_bytes / 2**20:.0f} MiB, which Ray does not take; "
        f"largest so far: {largest}; list what the job does not need in runtime_env.excludes",
        reason="package_too_large",
    )
