"""The command line against a server on a real socket, in real time; clusters are in memory."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.cli.app import _run
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.dispatch.fake import FakeExecutor, Program
from kilowait_scheduler.serve import listen
from kilowait_scheduler.service.compose import compose
from kilowait_scheduler.settings import Settings

Cli = Callable[..., tuple[int, str, str]]


def write_regions(folder: Path) -> Path:
    path = folder / "regions.yaml"
    regions = [
        {"name": "north", "zone": "AA", "address": "http://127.0.0.1:1", "capacity_gpus": 8, "pue": 1.1},
        {"name": "south", "zone": "BB", "address": "http://127.0.0.1:1", "capacity_gpus": 4},
    ]
    path.write_text(yaml.safe_dump({"regions": regions}))
    return path


@pytest.fixture(scope="module")
def url_and_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("server")
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=26)
    for zone, cycle in (("AA", [400, 390, 100, 90, 380]), ("BB", [300])):
        rows = [f"{(begin + timedelta(hours=h)).isoformat()},{cycle[h % len(cycle)]}" for h in range(200)]
        (folder / f"{zone}.csv").write_text("datetime,carbon_intensity_lifecycle\n" + "\n".join(rows) + "\n")

    def make(region: Region) -> FakeExecutor:
        return FakeExecutor(
            region=region.name,
            now=lambda: datetime.now(UTC),
            gpus=region.capacity_gpus,
            start_s=0.1,
            programs=lambda request: Program(
                duration_s=1.0 if "quick" in request.entrypoint else 3600.0, output="step 1\n"
            ),
        )

    settings = Settings(
        state_dir=folder / "state", regions=write_regions(folder), intensity=folder, tick="0.2s", neso="off"
    )
    server = compose(settings, make_executor=make)
    listener = listen("127.0.0.1", 0)
    web = uvicorn.Server(uvicorn.Config(create_app(server), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    while not web.started or server.control.ticked_at is None:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", server.token_file
    web.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def cli(url_and_token: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    url, token = url_and_token
    monkeypatch.setenv("KILOWAIT_SERVER", url)
    monkeypatch.setenv("KILOWAIT_TOKEN_FILE", str(token))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        code = _run(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def job_file(folder: Path, **changes: Any) -> str:
    job = {
        "name": f"train-{time.monotonic_ns()}",
        "entrypoint": "python quick.py",
        "resources": {"gpus": 2},
        "duration": "30m",
        "within": "20h",
        "regions": {"home": "north"},
        **changes,
    }
    path = folder / f"{job['name']}.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in job.items() if v is not None}))
    return str(path)


def until(check: Callable[[], bool], *, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_a_dry_run_shows_the_plan_and_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    path = job_file(tmp_path)
    _, before, _ = cli("jobs", "-o", "json")
    code, out, _ = cli("submit", path, "--dry-run", "-o", "json")
    plan = json.loads(out)
    assert code == 0
    assert plan["saved_g"] == pytest.approx(plan["run_now_g"] - plan["carbon_g"])
    assert plan["windows"][0]["region"] == "north"
    assert cli("jobs", "-o", "json")[1] == before
    assert cli("plan", path)[0] == 0


def test_a_job_is_submitted_shown_explained_and_logged(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("submit", job_file(tmp_path, within="31m"), "-o", "json")
    assert code == 0, err
    job_id = json.loads(out)["job"]["id"]
    until(lambda: json.loads(cli("show", job_id, "-o", "json")[1])["state"] == "succeeded")
    for words in (("show", job_id), ("explain", job_id), ("jobs",), ("regions",), ("forecast",), ("forecast", "AA")):
        code, out, err = cli(*words)
        assert code == 0, (words, err)
        assert out.strip(), words
    assert cli("logs", job_id)[1] == "step 1\n"
    assert json.loads(cli("explain", job_id, "-o", "json")[1])["reason"] == "finished"


def test_submit_waits_and_says_how_it_ended(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("submit", job_file(tmp_path, within="31m"), "--wait", "-o", "json")
    assert code == 0
    assert json.loads(out)["state"] == "succeeded"


def test_options_and_a_command_make_a_job(cli: Cli) -> None:
    words = ["submit", "--gpus", "1", "--within", "20h", "--duration", "1h", "--home", "south", "-o", "json"]
    code, out, err = cli(*words, "--", "python", "train.py", "--epochs", "3")
    assert code == 0, err
    job = json.loads(out)["job"]
    assert job["spec"]["entrypoint"] == "python train.py --epochs 3"
    assert cli("cancel", job["id"])[0] == 0
    until(lambda: json.loads(cli("show", job["id"], "-o", "json")[1])["state"] == "cancelled")


def test_a_working_directory_is_packed_beside_the_job_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "quick.py").write_text("print('hi')\n")
    path = job_file(tmp_path, within="31m", runtime_env={"working_dir": "code"})
    assert cli("submit", path)[0] == 0
    code, _, err = cli("submit", job_file(tmp_path, runtime_env={"working_dir": "nowhere"}))
    assert code == 2 and "nowhere is not a folder" in err


def test_a_person_suspends_and_resumes_a_job_that_keeps_checkpoints(cli: Cli, tmp_path: Path) -> None:
    path = job_file(tmp_path, entrypoint="python slow.py", duration="5h", within="5h1m", checkpoint={"path": "/c"})
    job_id = json.loads(cli("submit", path, "-o", "json")[1])["job"]["id"]
    until(lambda: json.loads(cli("show", job_id, "-o", "json")[1])["state"] == "running")
    assert cli("resume", job_id)[0] == 1, "nobody has suspended it"
    assert cli("suspend", job_id)[0] == 0
    until(lambda: json.loads(cli("show", job_id, "-o", "json")[1])["state"] == "suspended")
    assert cli("resume", job_id)[0] == 0
    cli("cancel", job_id)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"resources": {"gpu": 2}}, 2, "resources.gpu"),
        ({"deadline": "2020-01-01T00:00:00Z", "within": None}, 3, "has passed"),
        ({"within": "10m"}, 3, "do not fit"),
        ({"resources": {"gpus": 99}}, 3, "largest allowed region has 8"),
        ({"regions": {"home": "mars"}}, 2, "known regions: north, south"),
        ({"duration": None}, 3, "add e.g. duration: 6h"),
        ({"within": 6}, 2, "90s, 30m, 6h"),
        ({"checkpiont": {"path": "/c"}}, 2, "did you mean 'checkpoint'?"),
        ({"deadline": "2099-01-01T00:00:00", "within": None}, 2, "has no offset"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_mend(
    cli: Cli, tmp_path: Path, changes: dict[str, Any], code: int, says: str
) -> None:
    got, out, err = cli("submit", job_file(tmp_path, **changes))
    assert (got, out) == (code, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1, err


def test_mistakes_on_the_command_line_are_one_line_each(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [unclosed")
    for words in (
        ("submit", str(tmp_path / "missing.yaml")),
        ("submit", str(broken)),
        ("show", "no-such-job"),
        ("nonsense",),
        ("plan",),
        ("report", "--month", "soon"),
        ("forecast", "XX"),
        ("jobs", "--token-file", str(tmp_path / "none")),
    ):
        code, out, err = cli(*words)
        assert (code, out) == (2, ""), (words, err)
        assert len(err.strip().splitlines()) == 1, err


def test_a_server_that_is_not_there_is_code_four(cli: Cli) -> None:
    code, out, err = cli("jobs", "--server", "http://127.0.0.1:9")
    assert (code, out) == (4, "")
    assert "is `kilowait serve` running?" in err


def test_a_wrong_token_is_said_in_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("kw_wrong")
    code, _, err = cli("jobs", "--token-file", str(tmp_path / "t"))
    assert code == 2
    assert "not known here" in err and "kw_wrong" not in err


def test_a_hard_budget_holds_a_job_and_says_what_would_release_it(cli: Cli, tmp_path: Path) -> None:
    assert cli("budget", "set", "tiny", "--team", "poor", "--limit-kg", "0.001")[0] == 0
    path = job_file(tmp_path, team="poor", entrypoint="python slow.py", duration="2h")
    job_id = json.loads(cli("submit", path, "-o", "json")[1])["job"]["id"]

    def state() -> dict[str, Any]:
        return json.loads(cli("show", job_id, "-o", "json")[1])

    until(lambda: state()["state"] == "held")
    assert "Budget tiny" in state()["why"] and "raise the limit" in state()["why"]
    code, _, said = cli("budget", "what-if", "tiny", "--limit-pct", "50")
    assert code == 0 and "it would hold" in said
    assert cli("budget", "request", "tiny", "--kg", "0.0001", "--why", "try")[0] == 0
    number = str(json.loads(cli("budget", "requests", "-o", "json")[1])[0]["id"])
    assert cli("budget", "approve", number, "--kg", "0.0002")[0] == 0
    assert cli("budget", "refuse", number)[0] == 1
    assert cli("budget", "requests")[0] == 0
    assert cli("budget", "set", "spare", "--user", "ada", "--limit-kg", "1", "--period", "quarter")[0] == 0
    assert cli("budget", "transfer", "spare", "tiny", "--kg", "2")[0] == 3
    assert cli("budget", "set", "spare", "--limit-kg", "1", "--period", "rolling")[0] == 2
    assert cli("budget")[0] == 0
    assert cli("budget", "set", "tiny", "--team", "poor", "--limit-kg", "100")[0] == 0
    until(lambda: state()["state"] != "held")
    assert {b["budget"]["id"]: b for b in json.loads(cli("budget", "-o", "json")[1])}["tiny"]["held_g"] > 0
    cli("cancel", job_id)
    assert cli("ledger")[0] == 0
    code, head, said = cli("ledger", "verify")
    assert code == 0, said
    assert json.loads(cli("ledger", "verify", "--noted", head.strip(), "-o", "json")[1])["noted_at"] > 0
    assert cli("ledger", "verify", "--noted", "f" * 64)[0] == 1


def test_a_report_of_nothing_says_so_and_claims_no_zero(cli: Cli) -> None:
    code, out, _ = cli("report", "--team", "nobody")
    assert code == 0
    assert "Savings report, team nobody: no jobs were submitted from" in out and "saved 0" not in out


def test_bad_input_is_answered_in_words_for_people(cli: Cli) -> None:
    for words, said in (
        (("report", "--start", "soon"), "'soon' is not a time; write e.g. 2026-11-24T08:00:00Z"),
        (("report", "--start", "2026-10-01"), "has no offset; write e.g. 2026-10-01T00:00:00Z"),
        (("report", "--format", "nothing"), "'nothing' is not one of 'table', 'json'"),
        (("report", "--month", "0001-01", "--timezone", "Asia/Tokyo"), "'0001-01' is no month"),
    ):
        code, out, err = cli(*words)
        assert (code, out) == (2, "") and said in err and err.count("\n") == 1, err
        assert "Value error" not in err


def test_a_budget_that_is_over_or_to_come_is_listed_as_such(cli: Cli) -> None:
    for id_, year in (("past", 2020), ("coming", 2999)):
        span = ("--start", f"{year}-01-01T00:00:00Z", "--end", f"{year}-02-01T00:00:00Z")
        assert cli("budget", "set", id_, "--limit-kg", "1", "--period", "once", "--soft", *span)[0] == 0
    words = cli("budget")[1].split()  # a narrow terminal breaks lines between any two
    assert {"over", "since", "2020", "from", "2999"} <= set(words)


def test_page_evidence_and_output_of_one_command_are_one_report(cli: Cli, tmp_path: Path) -> None:
    page, evidence = tmp_path / "report.html", tmp_path / "evidence"
    code, out, err = cli("report", "--html", str(page), "--evidence", str(evidence), "-o", "json")
    assert code == 0, err
    assert (evidence / "report.json").read_text() == out
    made = json.loads(out)["generated_at"]
    assert f'<time datetime="{made}">' in page.read_text()
    assert json.loads((evidence / "manifest.json").read_text())["made_at"] == made
    code, out, err = cli("report", "--evidence", str(evidence), "--format", "html")
    assert code == 0, err
    made = json.loads((evidence / "manifest.json").read_text())["made_at"]
    assert f'<time datetime="{made}">' in out
    assert cli("report", "--html", str(page), "--format", "html")[1] == page.read_text()
    code, out, err = cli("report", "--evidence", str(page))
    assert (code, out) == (2, "") and str(page) in err and err.count("\n") == 1


def test_a_clouds_export_is_compared_and_what_differs_has_a_name(cli: Cli, tmp_path: Path) -> None:
    bill = tmp_path / "bill.csv"
    names = "usage_account_id,region_code,usage_period_start,usage_period_end"
    amounts = "total_lbm_emissions_value,total_lbm_emissions_unit"
    bill.write_text(f"{names},{amounts}\n42,us-west-2,2024-01-01,2024-02-01,0.5,MTCO2e\n")
    code, out, err = cli("report", "reconcile", str(bill), "-o", "json")
    assert code == 1, err
    (one,) = json.loads(out)["comparisons"]
    assert (one["account"], one["theirs_g"], one["ours_g"]) == ("42", 500_000.0, None)
    assert one["parts"] == [{"name": "only in theirs", "g": 500_000.0, "estimated": False}]
    assert cli("report", "reconcile", str(bill), "--tolerance-pct", "100")[0] == 0
    code, out, err = cli("report", "reconcile", str(bill), "--account", "42=chat", "--region", "us-west-2=north")
    assert code == 1 and "chat" in out and "north" in out and "1 of 1 comparisons" in err
    bill.write_text(f"{names},{amounts}\n42,us-west-2,2024-01-01,2024-02-01,much,MTCO2e\n")
    code, out, err = cli("report", "reconcile", str(bill))
    assert (code, out) == (2, "")
    assert err.startswith(f"kilowait: {bill}: line 2: total_lbm_emissions_value is 'much'") and err.count("\n") == 1
    assert cli("report", "reconcile", str(bill), "--account", "42")[0] == 2
    assert cli("report", "reconcile", str(tmp_path / "none.csv"))[0] == 2


def test_clean_supply_is_imported_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    hours = tmp_path / "solar-2026.csv"
    hours.write_text("datetime,mwh\n2026-01-01T00:00:00Z,0\n2026-01-01T02:00:00+01:00,1.5\n")
    code, out, err = cli("supply", "import", str(hours), "--region", "north")
    assert (code, out) == (0, "") and "solar-2026: 1.500 MWh for north in 2 hours" in err
    assert cli("supply", "volume", "gos", "--region", "north", "--year", "2026", "--mwh", "120")[0] == 0
    mix = ("--region", "north", "--year", "2026", "--g-per-kwh", "520", "--source", "AIB")
    assert cli("supply", "residual-mix", *mix)[0] == 0
    found = json.loads(cli("supply", "-o", "json")[1])
    assert [(one["id"], one["hourly"], one["mwh"]) for one in found["supplies"]] == [
        ("gos", False, 120.0),
        ("solar-2026", True, 1.5),
    ]
    assert found["residual_mixes"][0]["g_per_kwh"] == 520
    code, out, err = cli("supply")
    assert code == 0 and "solar-2026" in out and "residual mix of north" in err
    assert cli("supply", "remove-residual-mix", "--region", "north", "--year", "2026")[0] == 0
    assert cli("supply", "remove-residual-mix", "--region", "north", "--year", "2026")[0] == 2
    assert cli("supply", "remove", "gos")[0] == cli("supply", "remove", "solar-2026")[0] == 0
    assert cli("supply", "remove", "gos")[0] == 2
    assert cli("supply", "import", str(hours), "--region", "nowhere")[0] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when,mwh\n", "line 1: the columns are to be datetime and mwh"),
        ("datetime,mwh\n", "no rows; give one per hour"),
        ("datetime,mwh\nsoon,1\n", "line 2: 'soon' is not a time; write e.g."),
        ("datetime,mwh\n2026-01-01T00:00:00,1\n", "line 2: '2026-01-01T00:00:00' has no offset"),
        ("datetime,mwh\n2026-01-01T00:30:00Z,1\n", "is not a full hour of UTC"),
        ("datetime,mwh\n2026-01-01T00:00:00Z,\n", "line 2: mwh is ''; write a number, 0 where nothing came"),
        ("datetime,mwh\n2026-01-01T00:00:00Z,-1\n", "line 2: mwh is '-1'"),
        (
            "datetime,mwh\n2026-01-01T00:00:00Z,1\n2026-01-01T02:00:00Z,1\n",
            "line 3: 2026-01-01T02:00:00+00:00 where 2026-01-01T01:00:00+00:00 is due",
        ),
    ],
)
def test_a_supply_file_that_cannot_be_read_gets_one_line(cli: Cli, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "s.csv"
    file.write_text(text)
    code, out, err = cli("supply", "import", str(file), "--region", "north")
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_reports_come_as_table_json_csv_yaml_and_page(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code, out, err = cli("report", "--html", str(page), "-o", "json")
    assert code == 0, err
    report = json.loads(out)
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")
    rows = list(csv.DictReader(io.StringIO(cli("report", "-o", "csv")[1])))
    assert len(rows) == len(report["jobs"])
    assert yaml.safe_load(cli("report", "-o", "yaml")[1])["totals"] == report["totals"]
    assert cli("report", "--by", "team")[0] == 0
    assert cli("report", "--by", "team", "--format", "html")[1].lstrip().lower().startswith("<!doctype html>")
    assert json.loads(cli("report", "--by", "month", "-o", "json")[1])["by"] == "month"
    for form in ("codecarbon", "aws", "google", "google-csv", "focus", "impact-framework"):
        code, out, err = cli("report", "--format", form)
        assert (code, err) == (0, ""), form
        assert out or form == "google", "nothing was measured yet"
    assert cli("report", "--by", "colour")[0] == 2
    assert cli("report", "--evidence", str(tmp_path / "evidence"))[0] == 0
    assert json.loads((tmp_path / "evidence" / "report.json").read_text())["baseline_name"] == "run-now@1"
    assert cli("report", "--evidence", str(page))[0] == 2
    assert json.loads(cli("report", "--baseline", "mean-start@1", "-o", "json")[1])["baseline_name"] == "mean-start@1"
    assert cli("report", "--baseline", "wishful@1")[0] == 2


def test_prices_are_set_listed_and_removed(cli: Cli) -> None:
    assert cli("price", "set", "own", "--per-t", "80", "--currency", "EUR", "--project", "chat")[0] == 0
    assert json.loads(cli("price", "-o", "json")[1])[0]["amount_per_t"] == "80"
    assert cli("price")[0] == 0
    assert cli("price", "set", "own", "--per-t", "much", "--currency", "EUR")[0] == 2
    assert cli("price", "remove", "own")[0] == 0


def test_tokens_are_made_listed_without_their_secret_and_revoked(cli: Cli) -> None:
    made = json.loads(cli("token", "create", "ci", "--role", "user", "-o", "json")[1])
    listed = cli("token", "-o", "json")[1]
    assert made["secret"] not in listed and made["id"] in listed
    assert cli("token", "revoke", made["id"])[0] == 0
    assert cli("token", "create", "x", "--role", "king")[0] == 2


def problem(**changes: Any) -> dict[str, Any]:
    return {
        "slot_minutes": 60,
        "slots": 4,
        "start": "2022-01-01T00:00:00Z",
        "regions": [{"name": "r0", "capacity_gpus": 8, "intensity_g_per_kwh": [300, 100, 100, 300], "pue": 1.1}],
        "jobs": [
            {"id": "j0", "gpus": 8, "slots": 2, "earliest_slot": 0, "deadline_slot": 4, "suspendable": True}
            | {"restart_kwh": 0.8, "kw_per_gpu": 0.5, "regions": ["r0"], "relocation_g": {"r0": 0}}
        ],
        **changes,
    }


def solve(cli: Cli, tmp_path: Path, question: object) -> tuple[int, Any, str]:
    path = tmp_path / "problem.json"
    path.write_text(question if isinstance(question, str) else json.dumps(question))
    code, out, err = cli("plan", "--problem", str(path), "-o", "json")
    return code, json.loads(out) if out else None, err


def test_a_problem_is_solved_in_the_documented_shape(cli: Cli, tmp_path: Path) -> None:
    code, answer, _ = solve(cli, tmp_path, problem())
    assert code == 0
    assert answer["carbon_g"] == pytest.approx(2 * 8 * 0.5 * 1.1 * 100)
    assert answer["jobs"][0]["windows"] == [{"region": "r0", "start_slot": 1, "end_slot": 3, "gpus": 8}]
    assert answer["gap_pct"] == 0 and answer["unplaced"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"jobs": []},
        {"slots": 0, "regions": [{"name": "r0", "capacity_gpus": 8, "intensity_g_per_kwh": []}]},
        {"regions": []},
        {"regions": [{"name": "r0", "capacity_gpus": 0, "intensity_g_per_kwh": [0, 0, 0, 0]}]},
        {"regions": [{"name": "r0", "capacity_gpus": [8, 0, 8, 8], "intensity_g_per_kwh": [-5, 0, 0, -5]}]},
    ],
)
def test_degenerate_problems_have_answers(cli: Cli, tmp_path: Path, changes: dict[str, Any]) -> None:
    code, answer, err = solve(cli, tmp_path, problem(**changes))
    assert code == 0, err
    assert answer["placed"] + len(answer["unplaced"]) == len(problem(**changes)["jobs"])
    assert all(item["reason"] and item["detail"] for item in answer["unplaced"])


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        (problem(slot_minutes="x"), "slot_minutes"),
        (problem(regions=[{"name": "r0", "capacity_gpus": 8, "intensity_g_per_kwh": [1]}]), "1 values for 4 slots"),
        (problem(job=[]), "did you mean 'jobs'?"),
    ],
)
def test_malformed_problems_are_one_line(cli: Cli, tmp_path: Path, question: object, says: str) -> None:
    code, answer, err = solve(cli, tmp_path, question)
    assert (code, answer) == (2, None)
    assert says in err and len(err.strip().splitlines()) == 1
