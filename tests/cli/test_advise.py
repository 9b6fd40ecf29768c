"""`kilowait advise`: the figures of the API as a table, or as they are."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from advised import facts
from kilowait_scheduler.advisor.advise import advise
from kilowait_scheduler.advisor.compare import compare

from .conftest import Run, StandIn

BEFORE, AFTER = facts({"g": [650.0] * 60}), facts({"g": [520.0] * 66}, job_id="b")


def answer(*, outcome: bool = False) -> dict[str, Any]:
    said = advise(BEFORE, notes=("a note",))
    found = asdict(compare(said, BEFORE, AFTER, work=1.0, applied=())) if outcome else None
    return {**asdict(said), "outcome": found}


def test_levers_are_shown_with_evidence_what_to_do_and_how_sure(run: Run, stand_in: StandIn) -> None:
    stand_in.status, stand_in.body = 200, json.dumps(answer()).encode()
    code, out, err = run("advise", "train", "--server", stand_in.url)
    assert code == 0, err
    text = " ".join(out.split())
    assert "0.65 kWh at its GPUs, 195 g; 1 GPU-hours of NVIDIA H100 SXM5 80GB, 650 W per GPU; runs 1" in text
    assert "power-cap: limit its GPUs to 520 W" in text
    assert "Do: `python -m kilowait_agents.power_limit --watts 520`" in text
    assert "Confidence medium: from a model" in text
    assert "another-size: it has one size" in text
    assert "a note" in err


def test_what_was_predicted_stands_beside_what_was_measured(run: Run, stand_in: StandIn) -> None:
    stand_in.status, stand_in.body = 200, json.dumps(answer(outcome=True)).encode()
    code, out, _ = run("advise", "train", "--compare", "b", "--applied", "power-cap", "--server", stand_in.url)
    assert code == 0
    assert stand_in.asked[-1][1] == "/api/v1/jobs/train/advice?compare=b&applied=power-cap&work=1.0"
    text = " ".join(out.split())
    assert "for the same work 0.078 kWh less (12.0 %); 23.4 g less: 23.4 g by energy, 0 g by the grid" in text


def test_as_csv_each_lever_is_a_row(run: Run, stand_in: StandIn) -> None:
    stand_in.status, stand_in.body = 200, json.dumps(answer()).encode()
    _, out, _ = run("advise", "train", "-o", "csv", "--server", stand_in.url)
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["kind"], row["confidence"]) == ("power-cap", "medium")
    assert float(row["carbon_g_mid"]) > 0
