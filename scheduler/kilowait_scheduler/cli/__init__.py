"""The command line. Client commands talk to the server over HTTP and import no server code.

`main` looks at the first word only, so that a GPU node with the small base install can run `kilowait agent` and
`kilowait doctor` without typer being there.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `kilowait` command."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else ""
    if first == "agent":
        from kilowait_agents.cli import main as agent

        sys.exit(agent(arguments[1:]))
    if first == "doctor":
        from .doctor import main as doctor

        sys.exit(doctor(arguments[1:]))
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "yaml", "click"):
            raise
        sys.stderr.write(f"kilowait: {error.name} is not installed; pip install 'kilowait[client]' (or [all])\n")
        sys.exit(2)
    run(arguments)
