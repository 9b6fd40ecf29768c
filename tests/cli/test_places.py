"""`regions find`: places and cloud regions, their grids, and what is only guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kilowait_forecasters.cloud import cloud_regions


def test_a_place_gets_the_zone_of_the_nearest_region_and_how_far_that_is(run: Any) -> None:
    code, out, _ = run("regions", "find", "--lat", "53.3", "--lon", "-6.3", "-o", "json")
    found = json.loads(out)
    assert code == 0
    assert (found["zone"], found["entsoe_area"], found["neso"]) == ("IE", "10Y1001A1001A59C", False)
    assert found["providers"] == ["electricity-maps", "entsoe"]
    assert 0 < found["distance_km"] < 30
    assert found["pue"] >= 1
    assert found["pue_source"]


def test_a_cloud_region_gets_the_ids_of_every_service(run: Any) -> None:
    _, out, _ = run("regions", "find", "--cloud", "aws:us-west-1", "-o", "json")
    found = json.loads(out)
    assert (found["zone"], found["eia_respondent"], found["watttime_region"]) == ("US-CAL-CISO", "CISO", "CAISO_NORTH")
    assert found["watttime_confirmed"] is True
    _, out, _ = run("regions", "find", "--cloud", "gcp:europe-west2", "-o", "json")
    assert json.loads(out)["providers"] == ["electricity-maps", "neso", "energy-charts"]


def test_all_regions_of_all_clouds_have_a_zone_a_pue_with_its_source_and_a_provider(run: Any) -> None:
    rows = []
    for cloud in ("aws", "azure", "gcp"):
        rows += json.loads(run("regions", "find", "--cloud", cloud, "-o", "json")[1])
    assert len(rows) == len(cloud_regions()) == 141
    assert all(row["zone"] and row["pue_source"] and row["providers"] and 1 <= row["pue"] < 2 for row in rows)


def test_a_table_says_what_is_guessed(run: Any) -> None:
    code, out, said = run("regions", "find", "--cloud", "azure")
    assert code == 0
    assert "austriaeast" in out
    assert "~ mean of the operator's fleet" in said
    assert "region-from-loc" in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "give --lat and --lon"),
        (("--lat", "5"), "give --lat and --lon"),
        (("--lat", "5", "--lon", "5", "--cloud", "aws"), "give --lat and --lon"),
        (("--lat", "95", "--lon", "5"), "is no place"),
        (("--lat", "0", "--lon", "-140"), "too far to tell its zone"),
        (("--cloud", "aws:us-west1"), "did you mean aws:us-west-1"),
    ],
)
def test_what_is_no_place_is_refused_in_one_line(run: Any, given: tuple[str, ...], told: str) -> None:
    code, out, said = run("regions", "find", *given)
    assert code == 2
    assert out == ""
    assert told in said
    assert said.count("\n") == 1


def test_a_region_may_say_whom_to_ask_about_its_zone(run: Any, stand_in: Any) -> None:
    add = ("regions", "add", "de", "--address", "http://127.0.0.1:1", "--gpus", "8", "--zone", "DE")
    assert run(*add, "--providers", "entsoe, electricity-maps")[0] == 0
    assert stand_in.asked[-1][3]["providers"] == ["entsoe", "electricity-maps"]
    run(*add)
    assert "providers" not in stand_in.asked[-1][3]


def test_grants_are_shown_as_yes_no_or_unknown_with_what_they_mean(run: Any, stand_in: Any) -> None:
    stand_in.body = json.dumps(
        [
            {
                "provider": "watttime",
                "zone": "SOCO",
                "signal": "marginal/direct",
                "forecast": True,
                "history": False,
                "problem": None,
            },
            {
                "provider": "watttime",
                "zone": "DE",
                "signal": None,
                "forecast": None,
                "history": None,
                "problem": "no idea",
            },
        ]
    ).encode()
    code, out, said = run("regions", "grants")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["watttime", "SOCO", "marginal/direct", "yes", "no"],
        ["watttime", "DE", "-", "?", "?"],
    ]
    assert "no idea" in said
    stand_in.body = b"[]"
    assert "no provider that says what it grants" in run("regions", "grants")[2]


def test_a_forecast_shows_its_band_source_and_age_and_what_did_not_answer(run: Any, stand_in: Any) -> None:
    slot = {"g_per_kwh": 210.4, "p10_g_per_kwh": 150.2, "p90_g_per_kwh": 288.9, "source": "own-model"}
    slots = [{**slot, "start": f"2026-01-01T{hour:02d}:00:00Z"} for hour in range(3)]
    slots.append({**slot, "start": "2026-01-01T03:00:00Z", "p10_g_per_kwh": None, "p90_g_per_kwh": None})
    forecast = {
        "zone": "DE",
        "source": "own-model",
        "notes": ["from entsoe: ridge 64 %"],
        "age_s": 1800.0,
        "skill": {"error_pct": 8.04, "persistence_pct": 12.6},
        "slots": slots,
        "failed": ["electricity-maps: quota used up"],
        "problem": None,
    }
    stand_in.body = json.dumps([forecast]).encode()
    code, out, said = run("forecast", "DE")
    assert code == 0
    assert stand_in.asked[-1][1].startswith("/api/v1/forecasts?zone=DE")
    lines = out.splitlines()
    assert lines[0] == "DE  own-model (from entsoe: ridge 64 %), 30 min old"
    assert "8.0 % (yesterday again: 12.6 %)" in out
    rows = [line.split() for line in lines if line.strip().endswith("own-model")]
    assert [row[-4:-1] for row in rows] == [["210", "150", "289"]] * 3 + [["210", "-", "-"]]
    assert "electricity-maps: quota used up" in said
