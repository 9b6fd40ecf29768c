"""Runs a server in this process until SIGTERM or Ctrl-C."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from typing import Any

import uvicorn
from pydantic import ValidationError

from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.core.errors import BadInput, KilowaitError
from kilowait_scheduler.core.job import first_problem
from kilowait_scheduler.service.compose import Server, compose
from kilowait_scheduler.settings import Settings


def serve(given: dict[str, Any]) -> None:
    """Compose a server from `given` settings (over the environment's) and serve it. Exits 2 on bad settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    # httpx would write whole addresses, in which some services want their key.
    for noisy in ("httpx", "apscheduler", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings(**given)
        listener = listen(settings.host, settings.port)
        server = compose(settings)
    except ValidationError as error:
        sys.exit(_usage(f"settings: {first_problem(error, model=Settings)}"))
    except (KilowaitError, OSError) as error:
        sys.exit(_usage(str(error)))
    run(server, listener)


def _usage(message: str) -> int:
    sys.stderr.write(f"kilowait: {message}\n")
    return 2


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises BadInput where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host") from None
    listener.listen(128)
    return listener


def run(server: Server, listener: socket.socket) -> None:
    """Serve on `listener` until told to stop; says where, and where the admin token lies (never what it is)."""
    host, port = listener.getsockname()[:2]
    sys.stderr.write(f"kilowait: serving on http://{host}:{port}\n")
    sys.stderr.write(f"kilowait: admin token in {server.token_file}\n")
    sys.stderr.flush()
    # uvicorn ends gracefully and then raises the signal again; nobody is to take that for a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    # What was imported and composed stays; to look through it for garbage again and again would cost a tenth of the
    # server's time under load.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(create_app(server), log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])
