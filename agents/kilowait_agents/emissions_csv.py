"""Measured runs as rows of an emissions.csv, in CodeCarbon's columns, so that what reads those reads ours."""

from __future__ import annotations

import csv
import fcntl
import os
import platform
from collections.abc import Mapping
from pathlib import Path

COLUMNS = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent",
    "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip
"""In CodeCarbon's order (3.3). Energies are kWh, powers W, emissions kg; what was not measured is left empty."""


def append_row(path: Path, values: Mapping[str, object]) -> None:
    """Add a row, with the header where the file is new. Several processes may add to one file."""
    known = {
        "os": platform.platform(),
        "python_version": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "tracking_mode": "machine",
        "on_cloud": "N",  # as CodeCarbon has it where it knows of no cloud; its viewer stops where nothing is said
    }
    with path.open("a", newline="", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, fieldnames=COLUMNS, restval="")
        if file.seek(0, os.SEEK_END) == 0:
            writer.writeheader()
        writer.writerow({**known, **values})
