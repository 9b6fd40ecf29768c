# `make demo` and `make test` need Python >= 3.11 and make; the rest follows from requirements/.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo test check bench serve lint types unit real wheel pins clean prepare-run prepare-dev prepare-oracles prepare-peers bench-planner bench-agent bench-forecast bench-accounts

demo: prepare-run  ## two Ray clusters, a server, agents, jobs delayed, moved, suspended and resumed
	@$(VENV)/kilowait demo $(DEMO_ARGS)

serve: prepare-run  ## the server on 127.0.0.1:8080
	@$(VENV)/kilowait serve $(SERVE_ARGS)

test: unit real  ## every test that this machine can run; skipped lanes say why

unit: prepare-dev
	@$(VENV)/python -c "from kilowait_scheduler.planner.joint import warm_up; warm_up()"  # once, not once per worker
	$(VENV)/pytest -q -n 2 -m "not ray and not browser and not postgres and not helm and not prometheus and not cpsat and not peers and not network"

real: prepare-dev prepare-oracles prepare-peers
	$(VENV)/pytest -q -n 2 -m "not ray and (browser or postgres or helm or prometheus or cpsat or peers or network)"
	$(VENV)/pytest -q -m ray  # one after the other: each starts clusters

check: lint types wheel  ## everything CI checks besides the tests

lint: prepare-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/lint-imports
	sh requirements/no_hosts.sh

types: prepare-dev
	$(VENV)/mypy

wheel: prepare-dev  ## the wheel builds, installs into a clean environment and runs there
	sh requirements/try_wheel.sh

bench: bench-planner bench-agent bench-forecast bench-accounts  ## every benchmark

bench-agent: prepare-dev prepare-peers  ## writes docs/benchmarks/agent.md; takes about five minutes
	$(VENV)/python docs/benchmarks/agent_bench.py

bench-planner: prepare-dev prepare-oracles  ## writes docs/benchmarks/planner.md; takes about half an hour
	$(VENV)/python docs/benchmarks/planner_bench.py

bench-forecast: prepare-dev  ## writes docs/benchmarks/forecast.md from ../shared/data; takes twenty minutes
	$(VENV)/python docs/benchmarks/forecast_bench.py $(BENCH_FORECAST_ARGS)

bench-accounts: prepare-dev  ## writes docs/benchmarks/accounts.md; takes about ten minutes
	$(VENV)/python docs/benchmarks/accounts_bench.py

pins:  ## compile requirements/*.txt anew from pyproject.toml
	$(VENV)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --extra all -o requirements/run.txt pyproject.toml
	$(VENV)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --all-extras -c requirements/run.txt -o requirements/dev.txt pyproject.toml
	$(VENV)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate -o requirements/oracles.txt requirements/oracles.in
	$(VENV)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate -o requirements/peers.txt requirements/peers.in

prepare-run:
	@$(PYTHON) requirements/prepare.py run

prepare-dev:
	@$(PYTHON) requirements/prepare.py dev

prepare-oracles:
	@$(PYTHON) requirements/prepare.py oracles

prepare-peers:
	@$(PYTHON) requirements/prepare.py peers

clean:
	rm -rf .venv .venv-oracles .venv-peers dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
