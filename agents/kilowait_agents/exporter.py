"""The door for Prometheus; imported only where it is asked for, because http.server costs megabytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .metrics import Sample, render


@contextmanager
def serving(address: tuple[str, int], samples: Callable[[], Iterable[Sample]]) -> Iterator[int]:
    """Answers `GET /metrics` at `address` while the block runs; the port. Raises OSError if the address is not to be
    had."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = render(samples()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    server = ThreadingHTTPServer(address, Handler)
    thread = threading.Thread(target=server.serve_forever, name="kilowait-metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
