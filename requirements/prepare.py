"""Prepares `.venv` from the pinned requirements. Needs Python 3.11 or newer and nothing else.

usage: python3 requirements/prepare.py run|dev|oracles|peers

`oracles` makes a second environment, .venv-oracles, for CP-SAT, and `peers` a third, .venv-peers, for the tools that
the agent is measured beside.

Looks for a Python that Ray has wheels for, makes the environment with it, installs the hash-pinned requirements (with
uv, fetched first, for speed) and the project itself. Does nothing where all that is there already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KIND = sys.argv[1] if len(sys.argv) == 2 else ""
VENV = ROOT / (f".venv-{KIND}" if KIND in ("oracles", "peers") else ".venv")
PYTHON = VENV / "bin" / "python"
# Pythons that the pinned Ray has Linux and macOS wheels for, best tested first.
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
STEPS = 4


def say(step: int, what: str) -> None:
    sys.stderr.write(f"[{step}/{STEPS}] {what}\n")
    sys.stderr.flush()


def stop(why: str) -> None:
    sys.stderr.write(f"kilowait: {why}\n")
    raise SystemExit(2)


def version_of(python: str) -> str | None:
    """`3.11` and so on; None where it does not run or is not a CPython with venv."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def suitable_python() -> str:
    """A Python that can make environments and run Ray: this one if it can, else one from PATH."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    candidates = [sys.executable, *(found for v in SUPPORTED if (found := shutil.which(f"python{v}")))]
    for candidate in candidates:
        if version_of(candidate) in SUPPORTED:
            return candidate
    if here in SUPPORTED:
        stop(f"Python {here} cannot make virtual environments; install its venv (Debian: apt install python3-venv)")
    stop(f"Ray has no wheel for Python {here}; install Python {SUPPORTED[0]} to {SUPPORTED[-1]} and run this again")
    raise AssertionError


def run(*command: str | Path) -> None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.DEVNULL)
    if done.returncode:
        stop(f"`{' '.join(str(word) for word in command[:6])} ...` failed (see above); is the package index reachable?")


def mark_of(kind: str) -> str:
    """What an environment of this kind was made from; changes when pins or project do."""
    content = (ROOT / "requirements" / f"{kind}.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(content).hexdigest()


def is_ready(kind: str) -> bool:
    stamp = VENV / f".prepared-{kind}"
    return PYTHON.exists() and stamp.exists() and stamp.read_text().strip() == mark_of(kind)


def main() -> None:
    kind = KIND
    if kind not in ("run", "dev", "oracles", "peers"):
        stop("usage: python3 requirements/prepare.py run|dev|oracles|peers")
    if is_ready(kind) or (kind == "run" and is_ready("dev")):  # what development needs holds all that running needs
        return
    say(1, "looking for a suitable Python")
    if version_of(str(PYTHON)) not in SUPPORTED:
        python = suitable_python()
        say(2, f"making {VENV.name} with {python}")
        shutil.rmtree(VENV, ignore_errors=True)
        run(python, "-m", "venv", VENV)
    run(PYTHON, "-m", "pip", "install", "--quiet", "uv>=0.9,<1")
    uv = VENV / "bin" / "uv"
    say(3, f"installing requirements/{kind}.txt (a minute or two with an empty cache)")
    pins = ROOT / "requirements" / f"{kind}.txt"
    ours = kind in ("run", "dev")
    # Bytecode once, here: every command is a process, and where none may be written each would compile all it imports.
    more = ["--compile-bytecode"] if ours else []
    run(uv, "pip", "install", "--quiet", "--python", PYTHON, *more, "--require-hashes", "-r", pins)
    if ours:
        say(4, "installing kilowait itself and compiling its planner (half a minute, once)")
        run(uv, "pip", "install", "--quiet", "--python", PYTHON, "--no-deps", "-e", ROOT)
        run(PYTHON, "-m", "compileall", "-q", *(ROOT / name for name in ("scheduler", "forecasters", "agents")))
        run(PYTHON, "-c", "from kilowait_scheduler.planner.joint import warm_up; warm_up()")
    (VENV / f".prepared-{kind}").write_text(mark_of(kind) + "\n")


main()
