"""Where the server is and which token opens it, and the files a command reads.

Server: --server, KILOWAIT_SERVER, `server` in the user's config file, this machine. Token: --token-file,
KILOWAIT_TOKEN, KILOWAIT_TOKEN_FILE, `token_file` in the user's config file, where `kilowait serve` puts it on this
machine. The first that is there is used, and an unusable one is an error: the next might be somebody else's.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kilowait_scheduler.client import DEFAULT_SERVER, Client, environment_token, read_token

from .output import Format

ServerOption = Annotated[
    str | None, typer.Option("--server", envvar="KILOWAIT_SERVER", help="Server URL.", rich_help_panel="Connection")
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        # Not typer's `envvar`: KILOWAIT_TOKEN comes between this option and KILOWAIT_TOKEN_FILE.
        help="File with the token (else KILOWAIT_TOKEN, KILOWAIT_TOKEN_FILE).",
        rich_help_panel="Connection",
    ),
]
OutputOption = Annotated[Format, typer.Option("-o", "--output", help="table, json, yaml or csv.")]


class UsageError(Exception):
    """Bad input on the command line: what, where, how to mend it."""


def config_file() -> Path:
    """The user's config file: YAML with `server` and `token_file`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "kilowait" / "config.yaml"


def connect(server: str | None, token_file: Path | None) -> Client:
    """A client for the server. Raises UsageError or BadSetting where a file, the address or the token is of no use."""
    config = _config()
    url = server or config.get("server") or DEFAULT_SERVER
    return Client(url, token=_token(token_file, config))


def read_file(path: Path, *, what: str) -> str:
    """The text of a file. Raises UsageError that names `what` it was to be."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def read_yaml(path: Path, *, what: str) -> Any:
    """What a YAML file holds. Raises UsageError that names `what` it was to be."""
    text = read_file(path, what=what)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the 45th of a month
        raise UsageError(f"{what} {path}: {error}") from None
    except RecursionError:
        raise UsageError(f"{what} {path}: nested too deeply") from None


def finite(value: float | None) -> float | None:
    """A typer callback: refuses nan and inf, which JSON cannot say."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def _token(token_file: Path | None, config: dict[str, str]) -> str | None:
    if token_file is not None:
        return read_token(token_file)
    if token := environment_token():
        return token
    if config.get("token_file"):
        return read_token(Path(config["token_file"]).expanduser())
    usual = Path.home() / ".local" / "state" / "kilowait" / "admin.token"
    return read_token(usual) if usual.exists() else None


def _config() -> dict[str, str]:
    path = config_file()
    if not path.exists():
        return {}
    data = read_yaml(path, what="config file") or {}
    if not isinstance(data, dict):
        raise UsageError(f"config file {path}: expected 'server: URL' and 'token_file: PATH'")
    return {str(key): str(value) for key, value in data.items() if value is not None}
