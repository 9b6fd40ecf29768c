"""The command tree, and how errors leave it: one line on stderr and the exit code of docs/cli.md."""

from __future__ import annotations

import sys

import typer

from kilowait_scheduler.client import BadSetting, ServerError, ServerUnreachable

from . import accounts, advice, budgets, estimates, grid, jobs, local, prices, reports, supply
from .connect import UsageError
from .output import say

app = typer.Typer(
    name="kilowait",
    help="Carbon-aware scheduler for AI training clusters: runs jobs when and where the grid is clean.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# typer brings a click of its own, and of its errors exports only this one and those it derives from.
_CommandLineError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

OK, FAILED, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4

for module in (local, jobs, grid, budgets, prices, supply, accounts, reports, advice, estimates):
    module.register(app)


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def agent() -> None:
    """Measure the GPUs of this node and report their energy (`kilowait agent --help`)."""


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def doctor() -> None:
    """Say what is installed and found on this machine, and what is missing."""


def run(arguments: list[str]) -> None:
    """Run the command line and exit with its code."""
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        result = typer.main.get_command(app).main(arguments or ["--help"], prog_name="kilowait", standalone_mode=False)
        return result if isinstance(result, int) else OK
    except typer.Exit as error:
        return error.exit_code
    except _CommandLineError as error:
        known = arguments[:1] if arguments and not str(error).startswith("No such command") else []
        _complain(
            f"{str(error).removeprefix('Value error, ').rstrip('.')}; see `{' '.join(['kilowait', *known])} --help`"
        )
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except (UsageError, BadSetting) as error:
        _complain(str(error))
        return USAGE
    except ServerUnreachable as error:
        _complain(str(error))
        return UNREACHABLE
    except ServerError as error:
        _complain(str(error))
        return {422: REFUSED, 409: FAILED, 503: UNREACHABLE}.get(error.status, USAGE if error.status < 500 else FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        return OK


def _complain(message: str) -> None:
    """One line on stderr, whatever line breaks a file's or a server's words bring along."""
    say(f"kilowait: {' '.join(message.split())}")
