"""The table of GPUs: facts with the source and the doubt of each figure. docs/estimate.md shows it; a test compares.

Peak rates are dense and come from vendors' datasheets, directly or through pages that cite them. Embodied figures are
cradle-to-gate, of one GPU with its board and memory, without its server, and differ by up to 3.5 between sources.
"""

from __future__ import annotations

from .gpus import Gpu, Precision, Source, published, single

FP32, TF32, BF16, FP16, FP8 = Precision.FP32, Precision.TF32, Precision.BF16, Precision.FP16, Precision.FP8

_MEMORY = "cited from memory, not read again"
_DATASHEET = Source("NVIDIA datasheet", "read through pages that cite it")
_ML_IMPACT = Source("mlco2/impact data/gpus.csv", "a collection, of datasheets it names")
_AMPERE = {FP32: 19.5, TF32: 156.0, BF16: 312.0, FP16: 312.0}
_AMPERE_SOURCE = Source("NVIDIA A100 datasheet, as cited by glennklockwood.com")
_HOPPER = {FP32: 66.9, TF32: 494.7, BF16: 989.4, FP16: 989.4, FP8: 1978.9}
_HOPPER_SOURCE = Source("NVIDIA's figures, as cited by glennklockwood.com")

_BOAVIZTA = "boaviztapi 2.5.0"
_ONE_SOURCE = "one source only: widened by the spread that others show"
_A100_KG = published(150, 181, 319, 322)
_A100_SOURCE = Source(
    "150 BLOOM (Luccioni et al. 2022); 181 Hubblo/ADEME, PCIe 40 GB; 319 and 322 boaviztapi 2.5.0, SXM4 and PCIe",
    "150 cited from memory; 318 of Chien et al. 2023 left out: it holds a share of the server",
)
_H100_KG = published(164, 575)
_H100_SOURCE = Source(
    f"164 = NVIDIA's product carbon footprint of HGX H100, 1,312 / 8; 575 {_BOAVIZTA}",
    "the footprint is cited second-hand; it agrees with the 0.66 g per exaFLOP of NVIDIA's blog",
)
_H100_LIKE = Source("range of H100 SXM5: the same die", "no assessment of this board; its memory differs")
# Lowest and highest figure of any GPU below.
_ANY_KG = published(124, 575)
_ANY_SOURCE = Source("range of all figures in this table", "no life-cycle assessment was found; give your own figure")

GPUS: tuple[Gpu, ...] = (
    Gpu(
        name="NVIDIA V100 SXM2",
        short="V100 SXM2",
        aliases=("V100", "V100-SXM2-16GB", "V100-SXM2-32GB", "V100 SXM"),
        tdp_w=300,
        tdp_source=_DATASHEET,
        tflops={FP32: 15.7, FP16: 125.0},
        tflops_source=_DATASHEET,
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
    Gpu(
        name="NVIDIA V100 PCIe",
        short="V100 PCIe",
        aliases=("V100-PCIE-16GB", "V100-PCIE-32GB"),
        tdp_w=250,
        tdp_source=_DATASHEET,
        tflops={FP32: 14.0, FP16: 112.0},
        tflops_source=Source(_DATASHEET.text, "28 TFLOPS is its FP16 rate without matrix units"),
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
    Gpu(
        name="NVIDIA T4",
        short="T4",
        tdp_w=70,
        tdp_source=_ML_IMPACT,
        tflops={FP32: 8.1, FP16: 65.0},
        tflops_source=_ML_IMPACT,
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
    Gpu(
        name="NVIDIA Quadro RTX 8000",
        short="RTX 8000",
        tdp_w=260,
        tdp_source=Source(_ML_IMPACT.text, "of the graphics processor; the whole board may draw 295 W"),
        tflops={FP32: 16.3, FP16: 130.5},
        tflops_source=_DATASHEET,
        embodied_kg=single(200),
        embodied_source=Source(f"{_BOAVIZTA}: Titan RTX, the same die", f"half its memory; {_ONE_SOURCE}"),
    ),
    Gpu(
        name="NVIDIA A100 SXM4 40GB",
        short="A100 SXM4 40GB",
        aliases=("A100 40GB", "A100-SXM-40GB"),
        tdp_w=400,
        tdp_source=_AMPERE_SOURCE,
        tflops=_AMPERE,
        tflops_source=_AMPERE_SOURCE,
        embodied_kg=_A100_KG,
        embodied_source=_A100_SOURCE,
    ),
    Gpu(
        name="NVIDIA A100 SXM4 80GB",
        short="A100 SXM4 80GB",
        aliases=("A100", "A100 80GB", "A100 SXM", "A100 SXM4", "A100-SXM-80GB"),
        tdp_w=400,
        tdp_source=_AMPERE_SOURCE,
        tflops=_AMPERE,
        tflops_source=_AMPERE_SOURCE,
        embodied_kg=_A100_KG,
        embodied_source=_A100_SOURCE,
    ),
    Gpu(
        name="NVIDIA A100 PCIe 40GB",
        short="A100 PCIe 40GB",
        aliases=("A100 PCIe",),
        tdp_w=250,
        tdp_source=_ML_IMPACT,
        tflops=_AMPERE,
        tflops_source=_AMPERE_SOURCE,
        embodied_kg=_A100_KG,
        embodied_source=_A100_SOURCE,
    ),
    Gpu(
        name="NVIDIA A100 PCIe 80GB",
        short="A100 PCIe 80GB",
        aliases=("A100 80GB PCIe",),
        tdp_w=300,
        tdp_source=_DATASHEET,
        tflops=_AMPERE,
        tflops_source=_AMPERE_SOURCE,
        embodied_kg=_A100_KG,
        embodied_source=_A100_SOURCE,
    ),
    Gpu(
        name="NVIDIA H100 SXM5 80GB",
        short="H100 SXM5 80GB",
        aliases=("H100", "H100 SXM", "H100 SXM5", "H100 80GB", "H100 80GB HBM3"),
        tdp_w=700,
        tdp_source=_HOPPER_SOURCE,
        tflops=_HOPPER,
        tflops_source=_HOPPER_SOURCE,
        embodied_kg=_H100_KG,
        embodied_source=_H100_SOURCE,
    ),
    Gpu(
        name="NVIDIA H100 NVL",
        short="H100 NVL",
        aliases=("H100 94GB",),
        tdp_w=400,
        tdp_source=_ML_IMPACT,
        tflops={BF16: 835.0, FP16: 835.0, FP8: 1671.0},
        tflops_source=Source(_ML_IMPACT.text, "FP8 taken as twice FP16; pages contradict each other on this board"),
        embodied_kg=_H100_KG,
        embodied_source=_H100_LIKE,
    ),
    Gpu(
        name="NVIDIA H100 PCIe",
        short="H100 PCIe",
        tdp_w=350,
        tdp_source=Source("NVIDIA product brief PB-11133"),
        tflops={FP32: 51.0, TF32: 378.0, BF16: 756.0, FP16: 756.0, FP8: 1513.0},
        tflops_source=Source(_DATASHEET.text, "TF32 and FP8 taken as half and twice FP16"),
        embodied_kg=_H100_KG,
        embodied_source=_H100_LIKE,
    ),
    Gpu(
        name="NVIDIA H200 SXM",
        short="H200 SXM",
        aliases=("H200",),
        tdp_w=700,
        tdp_source=_DATASHEET,
        tflops=_HOPPER,
        tflops_source=Source(f"{_HOPPER_SOURCE.text}: as H100 SXM5"),
        embodied_kg=_H100_KG,
        embodied_source=_H100_LIKE,
    ),
    Gpu(
        name="NVIDIA B200 SXM",
        short="B200 SXM",
        aliases=("B200", "HGX B200"),
        tdp_w=1000,
        tdp_source=Source("NVIDIA's figures for HGX B200, as cited by glennklockwood.com"),
        tflops={FP32: 80.0, TF32: 1100.0, BF16: 2250.0, FP16: 2250.0, FP8: 4500.0},
        tflops_source=Source("NVIDIA's figures for HGX B200, as cited by glennklockwood.com", "GB200 has others"),
        embodied_kg=single(286),
        embodied_source=Source(
            "derived: H100's 164 kg x 2.3 (FP16 rate) x 0.50 / 0.66 (g per exaFLOP, NVIDIA's blog)", _ONE_SOURCE
        ),
    ),
    Gpu(
        name="NVIDIA L4",
        short="L4",
        tdp_w=72,
        tdp_source=_ML_IMPACT,
        tflops={FP32: 30.3, TF32: 60.0, BF16: 121.0, FP16: 121.0, FP8: 242.0},
        tflops_source=Source(_DATASHEET.text, f"FP32 and TF32 {_MEMORY}"),
        embodied_kg=single(124),
        embodied_source=Source(_BOAVIZTA, _ONE_SOURCE),
    ),
    Gpu(
        name="NVIDIA L40S",
        short="L40S",
        tdp_w=350,
        tdp_source=_DATASHEET,
        tflops={FP32: 91.6, TF32: 183.0, BF16: 362.0, FP16: 362.0, FP8: 733.0},
        tflops_source=_DATASHEET,
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
    Gpu(
        name="NVIDIA P100",
        short="P100",
        aliases=("P100-PCIE-16GB", "P100 PCIe"),
        tdp_w=250,
        tdp_source=_ML_IMPACT,
        tflops={FP32: 9.5, FP16: 19.0},
        tflops_source=Source(_ML_IMPACT.text, "the PCIe board; it has no matrix units and no energy counter"),
        embodied_kg=single(159),
        embodied_source=Source(_BOAVIZTA, _ONE_SOURCE),
    ),
    Gpu(
        name="AMD Instinct MI300X",
        short="MI300X",
        aliases=("MI300",),
        tdp_w=750,
        tdp_source=Source("AMD's figures, as cited by gpu.blog and the press"),
        tflops={FP32: 163.4, BF16: 1307.0, FP16: 1307.0, FP8: 2615.0},
        tflops_source=Source(
            "AMD's figures, through pages that cite them",
            f"FP32 {_MEMORY}; some pages give FP16 with sparsity as dense",
        ),
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
    Gpu(
        name="AMD Instinct MI250X",
        short="MI250X",
        tdp_w=560,
        tdp_source=Source("AMD's figures, as cited by the press", f"500 W where it is cooled by air, {_MEMORY}"),
        tflops={FP32: 47.9, BF16: 383.0, FP16: 383.0},
        tflops_source=Source("AMD's figures, as cited by the press", "of both dies together"),
        embodied_kg=_ANY_KG,
        embodied_source=_ANY_SOURCE,
    ),
)
