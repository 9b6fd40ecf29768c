"""Commands that run on this machine: serve and demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .connect import OutputOption, UsageError
from .output import Format


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(demo)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8080).")] = None,
    database: Annotated[str | None, typer.Option(help="Database URL (SQLite in the state folder).")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder for database, packages and token.")] = None,
    regions: Annotated[Path | None, typer.Option(help="YAML file with regions.")] = None,
    intensity: Annotated[Path | None, typer.Option(help="Recorded intensity to replay (CSV file or folder).")] = None,
) -> None:
    """Run the server: API, web page and control loop."""
    try:
        from kilowait_scheduler.serve import serve as run
    except ModuleNotFoundError as error:
        raise UsageError(f"serve: {error.name} is not installed; pip install 'kilowait[scheduler]'") from None
    given = {
        "host": host,
        "port": port,
        "database": database,
        "state_dir": state_dir,
        "regions": regions,
        "intensity": intensity,
    }
    run({key: value for key, value in given.items() if value is not None})


def demo(
    speed: Annotated[float, typer.Option(help="Grid seconds per real second.", min=60, max=3600)] = 600.0,
    intensity: Annotated[Path | None, typer.Option(help="Recorded intensity (CSV file or folder) to run on.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder for everything the demo writes.")] = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Show it all on this machine: two Ray clusters, an agent, jobs delayed, moved, suspended and resumed."""
    try:
        from kilowait_scheduler.cli.demo.run import run
    except ModuleNotFoundError as error:
        raise UsageError(f"demo: {error.name} is not installed; pip install 'kilowait[all]'") from None
    raise typer.Exit(run(speed=speed, intensity=intensity, run_dir=run_dir, output=o))
