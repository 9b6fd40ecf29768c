"""What `submit` and `plan` are given, as a job: a file with options on top, or options and a command after `--`."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from .connect import UsageError, read_yaml

_FILES = (".yaml", ".yml", ".json")
_SCRIPTS = (".py", ".sh")
_COMMAND = "kilowait.command"  # key in the context; click asks for keys that carry a package's name
_EXAMPLE = "kilowait submit --gpus 8 --within 24h -- python train.py"


class CommandAfterDashes(TyperCommand):
    """Keeps what follows the first `--` apart: the parser would drop the `--`, and with it the difference."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[_COMMAND] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


def command_after_dashes(context: typer.Context) -> list[str] | None:
    """The words after `--`; None where there was no `--`."""
    command: list[str] | None = context.meta.get(_COMMAND)
    return command


def job_of_command(what: Sequence[str], command: list[str], given: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """The job of a command and options, and the folder its paths are relative to."""
    if what:
        raise UsageError(f"submit: {what[0]!r} stands before --; give a job file or a command, not both")
    entrypoint = command_line(command)
    if not entrypoint.strip():
        raise UsageError(f"submit: the command after -- is empty; e.g. {_EXAMPLE}")
    return _over({"name": default_name(command), "entrypoint": entrypoint}, given), Path()


def job_of_file(what: Sequence[str], given: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """The job of a file with options on top, and the folder its paths are relative to."""
    if not what:
        raise UsageError(f"submit: give a job file, or a command after --, e.g. {_EXAMPLE}")
    if len(what) > 1:
        raise UsageError(f"submit: one job file at a time; put -- before a command: -- {command_line(what)}")
    path = Path(what[0])
    if path.suffix.lower() not in _FILES:
        raise UsageError(f"submit: {path} is not a job file ({', '.join(_FILES)}); to run it put -- before it")
    return _over(read_job(path), given), path.parent


def read_job(path: Path) -> dict[str, Any]:
    """A job file as plain JSON values; what they mean is the server's to judge."""
    data = read_yaml(path, what="job file")
    if not isinstance(data, dict):
        raise UsageError(f"job file {path}: expected a mapping with name, entrypoint, resources and deadline")
    try:
        job: dict[str, Any] = json.loads(json.dumps(data, default=_plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"job file {path}: cannot be sent as JSON: {error}") from None
    return job


def command_line(words: Sequence[str]) -> str:
    """Words as a shell line that gives them back; a single word is a shell line already, such as 'cd a && b'."""
    return words[0] if len(words) == 1 else shlex.join(words)


def default_name(words: Sequence[str]) -> str:
    """A job's name from its command: the stem of the first script, else the program; letters, digits, '-', '_', '.'."""
    parts = _parts(words[0]) if len(words) == 1 else list(words)
    programs = (part for part in parts if part not in ("exec", "env") and not re.match(r"\w+=", part))
    scripts = (Path(part).stem for part in parts if Path(part).suffix in _SCRIPTS)
    for name in (*scripts, *(Path(part).name for part in programs)):
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip("-._")
        if re.search("[A-Za-z]", safe):
            return safe
    return "job"


def packed(job: dict[str, Any], *, where: Path) -> tuple[dict[str, Any], bytes | None]:
    """The job and its zipped working directory, if it names a local folder (relative to `where`)."""
    env = job.get("runtime_env")
    folder = env.get("working_dir") if isinstance(env, dict) else None
    if not isinstance(env, dict) or not isinstance(folder, str) or "://" in folder:
        return job, None
    excludes = env.get("excludes") or []
    if not isinstance(excludes, list) or not all(isinstance(rule, str) for rule in excludes):
        raise UsageError('runtime_env.excludes: expected a list of patterns, e.g. ["*.bin"]')
    path = (where / folder).resolve()
    if not path.is_dir():
        raise UsageError(f"runtime_env.working_dir: {path} is not a folder")
    from kilowait_scheduler.dispatch.executor import Refused
    from kilowait_scheduler.dispatch.ray_packages import pack

    try:
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / "package.zip"
            pack(path, archive, excludes=excludes)
            return job, archive.read_bytes()
    except Refused as error:
        raise UsageError(f"runtime_env.working_dir: {error}") from None
    except OSError as error:
        raise UsageError(f"runtime_env.working_dir: {path} cannot be packed: {error.strerror}") from None


def _parts(line: str) -> list[str]:
    """The words of a shell line, operators apart; split at blanks where its quotes do not close."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:
        return line.split()


def _over(job: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The job with options laid over it; an option changes what it names and nothing beside it."""
    given = _said(given)
    if "any_of" in given.get("regions", {}):
        given["regions"]["any_of"] = [name.strip() for name in given["regions"]["any_of"] if name.strip()]
        if not given["regions"]["any_of"]:
            raise UsageError("--any-of: name regions, e.g. us-west,eu-north")
    if ("deadline" in given) != ("within" in given):  # each stands for the other; both at once the server refuses
        job = {key: value for key, value in job.items() if key not in ("deadline", "within")}
    merged = _merged(job, given)
    if "any_of" in given.get("regions", {}) and not merged["regions"].get("home"):
        raise UsageError("--any-of: give --home too, the region that the job is compared with")
    return merged


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """Options without those that were not given, at any depth."""
    plain = {key: _said(value) if isinstance(value, dict) else value for key, value in given.items()}
    return {key: value for key, value in plain.items() if value is not None and value != {}}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        below = base.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _plain(value: object) -> str:
    if isinstance(value, date):  # and so datetime
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value; quote it")
