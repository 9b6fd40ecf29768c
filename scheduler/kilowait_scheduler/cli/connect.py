"""Where the server is and which token opens it: option, environment, the user's config file, in that order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
import yaml

from kilowait_scheduler.client import DEFAULT_SERVER, Client

from .output import Format

ServerOption = Annotated[
    str | None, typer.Option("--server", envvar="KILOWAIT_SERVER", help="Server URL.", rich_help_panel="Connection")
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="KILOWAIT_TOKEN_FILE", help="File with the token.", rich_help_panel="Connection"
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
    """A client for the server. Raises UsageError where a token file cannot be read."""
    config = _config()
    url = server or config.get("server") or DEFAULT_SERVER
    token = os.environ.get("KILOWAIT_TOKEN")
    path = token_file or (Path(config["token_file"]).expanduser() if config.get("token_file") else None)
    if path is None and token is None:
        usual = Path.home() / ".local" / "state" / "kilowait" / "admin.token"
        path = usual if usual.exists() else None
    if path is not None:
        try:
            token = path.read_text().strip()
        except OSError as error:
            raise UsageError(f"token file {path}: {error.strerror}; give --token-file or KILOWAIT_TOKEN") from None
    return Client(url, token=token)


def _config() -> dict[str, str]:
    path = config_file()
    if not path.exists():
        return {}
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"config file {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise UsageError(f"config file {path}: expected 'server: URL' and 'token_file: PATH'")
    return {str(key): str(value) for key, value in data.items()}
