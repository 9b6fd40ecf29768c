"""One load of a driver told from another by the node that its module has in sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kilowait_agents.life import Life, life_of
from kilowait_agents.wire import Source, valid_id


def loaded_anew(modules: Path, driver: str) -> None:
    """Another folder, never with the number of the one before: both are there for a moment."""
    (modules / "new").mkdir(parents=True)
    if (modules / driver).exists():
        (modules / driver).rename(modules / f"old-{len(list(modules.iterdir()))}")
    (modules / "new").rename(modules / driver)


@pytest.mark.parametrize(("source", "driver"), [("nvml", "nvidia"), ("amdsmi", "amdgpu")])
def test_a_driver_that_is_loaded_anew_has_another_life(tmp_path: Path, source: Source, driver: str) -> None:
    now = life_of(source, modules=tmp_path)
    assert now().driver == "", "no such module is known here"
    loaded_anew(tmp_path, driver)
    first = now()
    assert now() == first
    assert not first.reloaded_since(Life(first.boot)), "what is not known has not changed"
    loaded_anew(tmp_path, driver)
    assert now().reloaded_since(first)
    assert not now().reloaded_since(first._replace(boot="another")), "another boot says more"


def test_a_meter_without_a_driver_lives_as_long_as_the_boot(tmp_path: Path) -> None:
    loaded_anew(tmp_path, "nvidia")
    assert life_of("rapl", modules=tmp_path)().driver == ""


@pytest.mark.parametrize(
    "life", [Life("3f0e7f3c-0b7e-4a52-9d3c-0a6f2a1d9b11"), Life("unknown", "18446744073709551615")]
)
def test_records_name_it_and_it_is_read_back(life: Life) -> None:
    assert valid_id(life.text)
    assert Life.of(life.text) == life
