"""What the documentation promises exists, and what exists is documented."""

from __future__ import annotations

from pathlib import Path

import typer

import kilowait
from kilowait_scheduler.cli.app import app
from kilowait_scheduler.reports.cloud import AWS_COLUMNS, GOOGLE_COLUMNS
from kilowait_scheduler.reports.formats import FORMS
from kilowait_scheduler.reports.render import COLUMNS
from kilowait_scheduler.reports.rows import FOCUS_COLUMNS
from kilowait_scheduler.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    text = (DOCS / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"`KILOWAIT_{name.upper()}`" in text, name
        assert (field.description or "?").rstrip(".") in text, name


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`{name}" in text or f"· `{name}" in text, name


def test_every_column_of_every_export_is_documented() -> None:
    text = (DOCS / "exports.md").read_text()
    for form in FORMS:
        assert f"`{form}`" in text, form
    for column in (*COLUMNS, *AWS_COLUMNS, *GOOGLE_COLUMNS, *FOCUS_COLUMNS):
        assert f"`{column}`" in text, column


def test_the_door_for_users_gives_exactly_what_it_says() -> None:
    for name in kilowait.__all__:
        assert getattr(kilowait, name) is not None
    assert sorted(kilowait.__all__) == kilowait.__all__


def test_a_config_file_gives_settings_and_the_environment_wins(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("port: 9001\nmargin: 0.3\n")
    monkeypatch.setenv("KILOWAIT_CONFIG", str(file))
    monkeypatch.setenv("KILOWAIT_MARGIN", "0.4")
    assert (Settings().port, Settings().margin, Settings(margin=0.5).margin) == (9001, 0.4, 0.5)
