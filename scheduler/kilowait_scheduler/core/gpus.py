"""What is known of a type of GPU, and finding one by the names people and drivers give it. The facts: `gpu_table`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .errors import BadInput
from .ranges import Range


class Precision(StrEnum):
    """What a peak rate counts operations of. FP32 means vector units, the others matrix units where there are any."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"


@dataclass(frozen=True)
class Source:
    """Where a figure comes from, and what speaks against it."""

    text: str
    doubt: str = ""


@dataclass(frozen=True)
class Gpu:
    """One type: peak rates (dense, no sparsity), the power it may draw, and kg CO2e of its making without its server.

    `short` is the name in lists; `aliases` are further names it answers to, a family's name if it stands for it.
    """

    name: str
    short: str
    tdp_w: float
    tdp_source: Source
    tflops: Mapping[Precision, float]
    tflops_source: Source
    embodied_kg: Range
    embodied_source: Source
    aliases: tuple[str, ...] = ()

    def peak_tflops(self, precision: Precision) -> float:
        """Raises BadInput, naming the precisions there are figures for."""
        try:
            return self.tflops[precision]
        except KeyError:
            there = ", ".join(known.value for known in self.tflops)
            raise BadInput(
                f"`precision` {precision.value}: no such peak of {self.name} is known; take {there}, or give `tflops`"
            ) from None


# The largest ratio between two sources on one GPU (H100 SXM5: 575 kg and 164 kg), taken where there is one source only.
WIDEST_SPREAD = 3.5


def published(*figures_kg: float) -> Range:
    """The range of several sources. Its mid is their ends' geometric mean: none is better than the others."""
    low, high = min(figures_kg), max(figures_kg)
    return Range(low, round(math.sqrt(low * high)), high)


def single(figure_kg: float) -> Range:
    """The range around the only source there is, as wide as the widest between several."""
    spread = math.sqrt(WIDEST_SPREAD)
    return Range(round(figure_kg / spread), figure_kg, round(figure_kg * spread))


# Words of vendors and brands, which a name may carry or not.
_BRANDS = re.compile(r"\b(nvidia|tesla|quadro|amd|instinct|radeon|geforce|gpu|tensor core)\b")


def _plain(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    return "".join(_BRANDS.sub(" ", words).split())


def find(name: str, *, among: Iterable[Gpu]) -> Gpu:
    """The GPU of that name: ours, a driver's ("Tesla V100-SXM2-32GB") or a family's ("V100": the type it stands for).

    Raises BadInput with close matches.
    """
    known = {_plain(alias): gpu for gpu in among for alias in (gpu.name, gpu.short, *gpu.aliases)}
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    close = dict.fromkeys(known[match].name for match in difflib.get_close_matches(wanted, known, n=4, cutoff=0.5))
    hint = f"close to it: {', '.join(close)}; all of them" if close else "those that are"
    raise BadInput(f"`gpu` {name[:60]!r} is not in the table; {hint}: `kilowait estimate --list-gpus`")


def relatives(gpu: Gpu, *, among: Iterable[Gpu]) -> list[Gpu]:
    """Other types of the same family, by the first word of their short names (A100, H100, V100)."""
    family = gpu.short.split()[0]
    return [other for other in among if other is not gpu and other.short.split()[0] == family]
