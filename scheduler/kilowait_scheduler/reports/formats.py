"""The forms a report can be asked for in, by name: one table for the REST API and what it says of itself.

Several forms of one report, asked for at once, come as one zip.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kilowait_scheduler.core.errors import BadInput

from .cloud import to_aws, to_google, to_google_csv
from .evidence import Evidence
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

EVIDENCE, ZIP = "evidence", "application/zip"


def forms_of(names: Iterable[str]) -> list[str]:
    """`names`, each once. Raises BadInput where there is no such form."""
    found = list(dict.fromkeys(names))
    for name in found:
        if name != EVIDENCE and name not in FORMS:
            raise BadInput(f"format {name!r} does not exist; use {', '.join(FORMS)} or {EVIDENCE}")
    return found


def written(evidence: Evidence, names: Iterable[str]) -> tuple[bytes, str]:
    """The report in one form, or a zip with a file per form, named after it; and its media type."""
    forms = list(names)
    if len(forms) > 1:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in forms:
                archive.writestr(name, written(evidence, [name])[0])
        return out.getvalue(), ZIP
    if forms == [EVIDENCE]:
        return evidence.packed(), ZIP
    form = FORMS[forms[0]]
    content = form.write(evidence.report)
    return content.encode() if isinstance(content, str) else content, form.media_type
