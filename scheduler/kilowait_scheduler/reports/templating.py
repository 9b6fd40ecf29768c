"""Templates, style sheets and how a figure is written into a page; shared with the web pages."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from . import words
from .units import UNKNOWN, Unit, dated, moment, percent


@cache
def environment(package: str) -> Environment:
    """The templates of a package: everything is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"moment": moment, "dated": dated, "lasted": words.lasted, "percent": percent}
    made.globals |= {"unknown": UNKNOWN, "figure": figure}
    return made


@cache
def style(*names: str) -> str:
    """Style sheets of this package, one after the other."""
    folder = files(__package__) / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def style_source(css: str) -> str:
    """The Content-Security-Policy source that allows exactly this inline style sheet."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()}'"


def figure(value: float | None, unit: Unit, *, signed: bool = False, named: bool = False) -> Markup:
    """A figure for people that also carries its exact value in base units; a dash where it is not known."""
    shown = unit.text(value, signed=signed) if named else unit.number(value, signed=signed)
    if value is None:
        return Markup('<span class="unknown">{}</span>').format(shown)
    return Markup('<data value="{}">{}</data>').format(repr(value), shown)
