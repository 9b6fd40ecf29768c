#!/bin/sh
# Builds the wheel, installs it alone into a clean environment, and runs it there as a GPU node would.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export UV_PYTHON_DOWNLOADS=never
.venv/bin/python -m build --wheel --no-isolation --outdir "$scratch" . >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log" >&2; exit 1; }
.venv/bin/uv venv -q --python .venv/bin/python "$scratch/venv"
.venv/bin/uv pip install -q --python "$scratch/venv/bin/python" "$scratch"/kilowait-*.whl
cd "$scratch"
venv/bin/kilowait doctor
venv/bin/kilowait agent --sink readings.jsonl --duration 2s --meter simulated --flush 1s
test -s readings.jsonl
if venv/bin/kilowait jobs 2>said; then echo "the base install has no client, and yet it ran" >&2; exit 1; fi
grep -q "kilowait\[client\]" said
echo "wheel: builds, installs, runs"
