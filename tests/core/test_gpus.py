"""The table of GPUs: names that find them, figures that are plausible, and the documentation that shows all figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from kilowait_scheduler.core.embodied import LIFESPAN_YEARS
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.estimate_inputs import MFU, NODE_FACTOR, POWER_PER_TDP, PUE
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import Gpu, Precision, Source, find, published, relatives, single
from kilowait_scheduler.core.ranges import Range

DOCS = (Path(__file__).parents[2] / "docs" / "estimate.md").read_text()


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("RTX 8000", "RTX 8000"),
        ("Quadro RTX 8000", "RTX 8000"),
        ("v100", "V100 SXM2"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2"),
        ("Tesla V100-PCIE-16GB", "V100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80GB"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("h100 pcie", "H100 PCIe"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA B200", "B200 SXM"),
        ("Tesla T4", "T4"),
        ("Tesla P100-PCIE-16GB", "P100"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_a_gpu_answers_to_the_names_of_people_and_drivers(name: str, short: str) -> None:
    assert find(name, among=GPUS).short == short


def test_no_two_gpus_answer_to_one_name() -> None:
    for gpu in GPUS:
        for alias in (gpu.name, gpu.short, *gpu.aliases):
            assert find(alias, among=GPUS) is gpu, alias


def test_an_unknown_gpu_is_refused_with_close_matches() -> None:
    with pytest.raises(BadInput, match="close to it: NVIDIA H100 NVL"):
        find("H100 NVX", among=GPUS)


def test_a_family_s_name_leaves_relatives_to_point_out() -> None:
    names = [gpu.short for gpu in relatives(find("H100", among=GPUS), among=GPUS)]
    assert names == ["H100 NVL", "H100 PCIe"]
    assert relatives(find("T4", among=GPUS), among=GPUS) == []


def test_every_figure_has_a_source_and_is_plausible() -> None:
    for gpu in GPUS:
        assert 50 <= gpu.tdp_w <= 1500, gpu.name
        assert 10 <= gpu.embodied_kg.low < gpu.embodied_kg.high <= 1000, gpu.name
        assert {Precision.FP32, Precision.FP16} & set(gpu.tflops)
        rates = [gpu.tflops[precision] for precision in Precision if precision in gpu.tflops]
        assert rates == sorted(rates), f"{gpu.name}: fewer bits are never slower"
        for source in (gpu.tdp_source, gpu.tflops_source, gpu.embodied_source):
            assert source.text, gpu.name


def test_ranges_of_embodied_carbon_span_the_sources_or_the_widest_known_spread() -> None:
    assert published(164, 575) == Range(164, 307, 575)
    assert single(124) == Range(66, 124, 232)


def row(gpu: Gpu) -> str:
    """The row of docs/estimate.md."""
    peaks = [f"{gpu.tflops[precision]:g}" if precision in gpu.tflops else "" for precision in Precision]
    kg = gpu.embodied_kg
    cells = [gpu.name, f"{gpu.tdp_w:g}", *peaks, f"{kg.low:g} · {kg.mid:g} · {kg.high:g}"]
    return f"| {' | '.join(cells)} |"


def told(source: Source) -> str:
    return f"{source.text} ({source.doubt})" if source.doubt else source.text


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.short)
def test_the_documentation_shows_the_table_as_it_is(gpu: Gpu) -> None:
    assert row(gpu) in DOCS
    for source in (gpu.tdp_source, gpu.tflops_source, gpu.embodied_source):
        assert any(told(source) in line and gpu.short in line for line in DOCS.splitlines()), told(source)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MFU", MFU),
        ("power per GPU, of TDP", POWER_PER_TDP),
        ("node factor", NODE_FACTOR),
        ("PUE", PUE),
        ("lifespan, years", LIFESPAN_YEARS),
    ],
)
def test_the_documentation_shows_the_assumptions_as_they_are(name: str, value: Range) -> None:
    (line,) = [line for line in DOCS.splitlines() if line.startswith(f"| {name} |")]
    low, mid, high = (float(figure) for figure in line.split("|")[2].split("·"))
    assert Range(low, mid, high) == value
