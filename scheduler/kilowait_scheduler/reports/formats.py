"""The forms a report can be asked for in, by name: one table for the REST API and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .cloud import to_aws, to_google, to_google_csv
from .impact import to_manifest
from .model import Report
from .render import to_csv, to_html, to_json, to_parquet
from .rows import to_codecarbon, to_focus


@dataclass(frozen=True)
class Form:
    """How a report is written, and what kind of document that is."""

    write: Callable[[Report], str | bytes]
    media_type: str


FORMS = {
    "json": Form(to_json, "application/json"),
    "csv": Form(to_csv, "text/csv"),
    "html": Form(to_html, "text/html"),
    "parquet": Form(to_parquet, "application/vnd.apache.parquet"),
    "codecarbon": Form(to_codecarbon, "text/csv"),
    "aws": Form(to_aws, "text/csv"),
    "google": Form(to_google, "application/jsonl"),
    "google-csv": Form(to_google_csv, "text/csv"),
    "focus": Form(to_focus, "text/csv"),
    "impact-framework": Form(to_manifest, "application/yaml"),
}
