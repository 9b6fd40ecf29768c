"""`kilowait doctor`: what this machine has and what is missing, with the command that mends it. Needs no extra."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_EXTRAS = {
    "client": ("typer", "rich", "yaml"),
    "scheduler": ("sqlmodel", "alembic", "apscheduler", "fastapi", "uvicorn", "numpy", "jinja2", "pydantic_settings"),
    "postgres": ("psycopg",),
    "ray": ("ray",),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `ok` is None for things one can do without."""

    what: str
    ok: bool | None
    detail: str


def main(arguments: list[str]) -> int:
    """Print findings; 0 if nothing that the installed parts need is missing."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(
            "usage: kilowait doctor [-o table|json]\n\nSay what is installed and found, and what is missing.\n"
        )
        return 0
    rest = [a for a in arguments if a not in ("-o", "--output", "-ojson", "json", "table", "yaml", "csv")]
    if rest:
        sys.stderr.write(f"kilowait: doctor takes no {rest[0]!r}; see `kilowait doctor --help`\n")
        return 2
    found = findings()
    if "json" in arguments or "-ojson" in arguments:
        sys.stdout.write(json.dumps([asdict(finding) for finding in found], indent=2) + "\n")
    else:
        for finding in found:
            mark = {True: "ok  ", False: "FAIL", None: "-   "}[finding.ok]
            sys.stdout.write(f"{mark} {finding.what}: {finding.detail}\n")
    return 1 if any(finding.ok is False for finding in found) else 0


def findings() -> list[Finding]:
    """Everything worth knowing about this machine, most basic first."""
    found = [_version(), _python()]
    found += [_extra(name, modules) for name, modules in _EXTRAS.items()]
    found += [_gpus(), _browser(), _server()]
    return found


def _version() -> Finding:
    return Finding("kilowait", ok=True, detail=importlib.metadata.version("kilowait"))


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok=ok, detail=f"{platform.python_version()} ({sys.executable})")


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Finding(f"extra [{name}]", ok=True, detail="installed")
    detail = f"{', '.join(missing)} not installed; pip install 'kilowait[{name}]' if this machine is to have it"
    return Finding(f"extra [{name}]", ok=None, detail=detail)


def _gpus() -> Finding:
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except Exception as error:
        detail = f"no NVIDIA GPU can be read ({error}); the agent then uses the simulated meter, and says so"
        return Finding("gpu energy", ok=None, detail=detail)
    return Finding("gpu energy", ok=count > 0, detail=f"{count} GPU(s) by NVML")


def _browser() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Finding("browser", ok=True, detail=f"{path} (only the browser tests need it)")
    return Finding("browser", ok=None, detail="no Chromium; only the browser tests need one")


def _server() -> Finding:
    url = os.environ.get("KILOWAIT_SERVER") or "http://127.0.0.1:8080"
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=2.0)
        status = answer.json()["status"]
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        detail = f"none at {url!r} ({type(error).__name__}); start one with `kilowait serve`"
        return Finding("server", ok=None, detail=detail)
    except (ValueError, KeyError, TypeError):
        return Finding("server", ok=False, detail=f"{url} answers, but not as a Kilowait server does; KILOWAIT_SERVER?")
    token = Path.home() / ".local" / "state" / "kilowait" / "admin.token"
    where = f"; admin token in {token}" if token.exists() else ""
    return Finding("server", ok=answer.status_code == 200, detail=f"{url}: {status}{where}")
