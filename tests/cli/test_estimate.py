"""`kilowait estimate`: needs no server, speaks every format, and says what was wrong in the words of its options."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from kilowait_scheduler.core.gpu_table import GPUS

from .conftest import Run, StandIn

Estimated = Callable[..., dict[str, Any]]
GPT_3 = ("--params", "175e9", "--tokens", "300e9")


@pytest.fixture
def estimated(run: Any, stand_in: Any) -> Estimated:
    def call(*words: str) -> dict[str, Any]:
        code, out, err = run("estimate", *words, "-o", "json")
        assert code == 0, err
        assert stand_in.asked == [], "an estimate asks no server"
        found = json.loads(out)
        assert isinstance(found, dict)
        return found

    return call


def test_the_published_figures_come_out(estimated: Estimated) -> None:
    found = estimated(*GPT_3, "--gpu", "RTX 8000", "--tflops", "15")
    assert found["flops"] == 3.15e23
    assert found["years_on_one_gpu"] == pytest.approx(665.9, abs=0.1)
    found = estimated("--flops", "3.14e23", "--gpu", "V100", "--tflops", "28")
    assert found["years_on_one_gpu"] == pytest.approx(355.6, abs=0.1)
    given = ("--gpu-hours", "3552000", "--gpus", "10000", "--power-w", "330", "--pue", "1.10", "--intensity", "429")
    found = estimated(*given, "--gpu", "V100")
    assert found["energy_mwh"] == pytest.approx(1289, rel=0.002)
    assert found["carbon_t"]["mid"] == pytest.approx(553, rel=0.002)
    assert found["wall_h"] == pytest.approx(14.8 * 24)
    found = estimated("--gpu-hours", "1082990", "--gpu", "A100", "--power-w", "400", "--pue", "1")
    assert 1000 * found["energy_mwh"] == pytest.approx(433_196, abs=0.5)


def test_the_same_is_given_for_every_zone_and_month(estimated: Estimated) -> None:
    found = estimated(*GPT_3, "--gpu", "A100", "--zone", "SE", "--price-per-kwh", "0.1", "--currency", "SEK")
    zones = {one["zone"]: one for one in found["regions"]}
    assert {"DE", "SE", "US-CAL-CISO"} <= set(zones)
    assert found["carbon_t"] == zones["SE"]["carbon_t"]
    assert zones["SE"]["carbon_t"]["mid"] < zones["DE"]["carbon_t"]["mid"]
    for one in zones.values():
        assert [month["month"] for month in one["months"]] == list(range(1, 13))
        assert "not a forecast" in one["source"]
        for part in (one, *one["months"]):
            assert part["carbon_t"]["low"] <= part["carbon_t"]["mid"] <= part["carbon_t"]["high"]
            assert part["money"]["currency"] == "SEK"
    assert found["money"]["mid"] == pytest.approx(100 * found["energy_mwh"], abs=0.01)


def test_every_assumption_is_printed_with_its_source(run: Any, estimated: Estimated) -> None:
    words = (*GPT_3, "--gpu", "A100", "--gpus", "1000", "--zone", "DE", "--pue", "1.1")
    found = estimated(*words)
    code, out, err = run("estimate", *words)
    assert code == 0, err
    flat = " ".join(out.split())
    for one in found["assumptions"]:
        assert one["name"] in flat
        if not one["given"]:
            assert one["source"] in flat
    assert "given: parameters 1.75e11, tokens 3e11, PUE 1.1" in flat
    assert "A100 SXM4 40GB" in err, "what the name stands for is said"


def test_a_price_and_a_place_left_out_are_said_to_be_missing(estimated: Estimated) -> None:
    found = estimated(*GPT_3, "--gpu", "A100")
    assert (found["money"], found["wall_h"], found["best_window"]) == (None, None, None)
    assert "no place was given" in found["assumptions"][-1]["source"]
    assert found["carbon_t"]["low"] < found["carbon_t"]["mid"] < found["carbon_t"]["high"]


def test_the_best_window_is_on_the_typical_day_and_ends_in_time(estimated: Estimated) -> None:
    words = ("--gpu-hours", "20", "--gpus", "8", "--gpu", "A100", "--zone", "US-CAL-CISO")
    window = estimated(*words, "--within", "2d")["best_window"]
    assert window["source"] == "typical-day: typical day of that month, not a forecast"
    assert window["carbon_t"] <= window["now_carbon_t"]
    assert estimated(*words, "--within", "2d", "--gpus", "1")["wall_h"] == 20
    found = estimated(*words, "--within", "1h")
    assert found["best_window"] is None
    assert "best window: the job takes 2.5 h and does not end within 1 h" in found["notes"]


def test_formats_agree_and_talk_stays_off_stdout(run: Any, estimated: Estimated) -> None:
    words = ("estimate", *GPT_3, "--gpu", "H100", "--zone", "DE", "--price-per-kwh", "0.2", "--currency", "EUR")
    found = estimated(*words[1:])
    assert yaml.safe_load(run(*words, "-o", "yaml")[1]) == found
    code, out, err = run(*words, "-o", "csv")
    assert code == 0
    total, *places = csv.DictReader(io.StringIO(out))
    assert float(total["carbon_t_mid"]) == found["carbon_t"]["mid"]
    assert float(total["cost_high"]) == found["money"]["high"]
    assert len(places) == 13 * len(found["regions"])
    assert float(places[1]["carbon_t_low"]) == found["regions"][0]["months"][0]["carbon_t"]["low"]
    assert "best window: give --gpus" in err


def test_the_gpus_are_listed_with_their_sources(run: Any) -> None:
    code, out, _ = run("estimate", "--list-gpus", "-o", "json")
    assert code == 0
    found = json.loads(out)
    assert [one["gpu"] for one in found] == [gpu.name for gpu in GPUS]
    assert all(one["embodied_source"]["source"] for one in found)
    code, out, _ = run("estimate", "--list-gpus")
    assert code == 0 and "130.5" in out and "boaviztapi" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give --gpu"),
        (("--gpu", "A100"), "--params with --tokens, or --flops, or --gpu-hours"),
        (("--gpu", "RTX 8001", "--flops", "1e20"), "close to it: NVIDIA Quadro RTX 8000"),
        (("--gpu", "A100", "--params", "1e9"), "--params needs --tokens too"),
        (("--gpu", "A100", "--flops", "1e20", "--gpu-hours", "3"), "--flops and --gpu-hours both"),
        (("--gpu", "A100", "--flops", "1e20", "--mfu", "0.3", "--tflops", "3"), "--mfu and --tflops both"),
        (("--gpu", "A100", "--flops", "1e20", "--zone", "DE", "--intensity", "9"), "--zone and --intensity both"),
        (("--gpu", "A100", "--flops", "1e20", "--zone", "GB"), "there are: DE, NL"),
        (("--gpu", "A100", "--flops", "many"), "--flops: Input should be a valid number"),
        (("--gpu", "A100", "--flops", "nan"), "--flops"),
        (("--gpu", "A100", "--flops", "-1"), "--flops: Input should be greater than 0"),
        (("--gpu", "A100", "--flops", "1e20", "--power-w", "0"), "--power-w"),
        (("--gpu", "A100", "--flops", "1e20", "--within", "7"), "--within: '7' is not a duration"),
        (("--gpu", "A100", "--flops", "1e20", "--price-per-kwh", "1"), "--price-per-kwh and --currency"),
        (("--gpu", "T4", "--flops", "1e20", "--precision", "bf16"), "take fp32, fp16"),
        (("--gpu", "A100", "--flop", "1e20"), "No such option"),
    ],
)
def test_bad_input_is_one_line_in_the_words_of_the_options(run: Any, words: tuple[str, ...], says: str) -> None:
    code, out, err = run("estimate", *words)
    assert (code, out) == (2, ""), err
    assert says in err
    assert len(err.strip().splitlines()) == 1, err


def test_history_prices_and_regions_are_a_server_s(run: Run, stand_in: StandIn) -> None:
    code, _, err = run("estimate", "--gpu", "T4", "--gpu-hours", "8", "--like", "bert")
    assert code == 2
    assert "--like is known to a server only; give --server" in err
    _, local, _ = run("estimate", "--gpu", "T4", "--gpu-hours", "8", "--intensity", "100", "-o", "json")
    stand_in.status, stand_in.body = 200, local.encode()
    words = ("--gpu", "T4", "--gpu-hours", "8", "--like", "bert", "--server", stand_in.url)
    code, out, err = run("estimate", *words)
    assert code == 0, err
    assert stand_in.asked[-1][1] == "/api/v1/estimates"
    assert stand_in.asked[-1][3]["like"] == "bert"
    assert "NVIDIA T4" in out
