"""Which files of a folder are left out: the rules of .gitignore files, and `excludes` in the same language.

Ray leaves out what git ignores, and so do we: it is how people keep data sets and secrets out of what they send. The
language is that of gitignore(5): the last matching rule wins, `!` takes back, a rule with a slash before its end is
anchored where it is written, and nothing below an ignored folder comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One line of rules. `base` is the folder it was written in, relative to the root, "" or ending in a slash."""

    pattern: re.Pattern[str]
    base: str
    folders_only: bool
    takes_back: bool

    def matches(self, path: str, *, folder: bool) -> bool:
        if (self.folders_only and not folder) or not path.startswith(self.base):
            return False
        return self.pattern.fullmatch(path[len(self.base) :]) is not None


def parse(lines: Iterable[str], *, base: str = "") -> tuple[Rule, ...]:
    """The rules of a file's lines; comments and empty lines are none."""
    rules = [_rule(line.rstrip("\n").removesuffix("\r"), base=base) for line in lines]
    return tuple(rule for rule in rules if rule is not None)


def ignored(path: str, *, folder: bool, rules: Iterable[Rule]) -> bool:
    """Whether `path` (relative, with slashes) is left out; its parent folders are known not to be."""
    verdict = False
    for rule in rules:
        if rule.matches(path, folder=folder):
            verdict = not rule.takes_back
    return verdict


def _rule(line: str, *, base: str) -> Rule | None:
    line = re.sub(r"(?<!\\) +$", "", line)
    if not line or line.startswith("#"):
        return None
    takes_back = line.startswith("!")
    line = line[1:] if takes_back else line
    folders_only = line.endswith("/")
    line = line.rstrip("/") if folders_only else line
    if not line:
        return None
    anchored = "/" in line
    body = _regex(line.removeprefix("/"))
    if body is None:
        return None
    try:
        pattern = re.compile(body if anchored else rf"(?:.*/)?{body}", re.S)
    except re.error:  # a range that runs backwards matches nothing
        return None
    return Rule(pattern, base, folders_only, takes_back)


def _regex(glob: str) -> str | None:
    """The glob as a regular expression; None if it can match nothing (an unclosed bracket, a lone backslash)."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            out.append("(?:[^/]+/)*")
            at += 3
        elif glob[at:] == "**" and (at == 0 or glob[at - 1] == "/"):
            out.append(".+")
            at += 2
        elif glob[at] == "*":
            while at < len(glob) and glob[at] == "*":
                at += 1
            out.append("[^/]*")
        elif glob[at] == "?":
            out.append("[^/]")
            at += 1
        elif glob[at] == "[":
            found = re.compile(r"\[([!^]?)((?:\])?(?:\\.|\[:\w+:\]|[^\]\\])*)\]").match(glob, at)
            if found is None:
                return None
            out.append(_bracket(found[2], negated=bool(found[1])))
            at = found.end()
        elif glob[at] == "\\":
            if at + 1 == len(glob):
                return None
            out.append(re.escape(glob[at + 1]))
            at += 2
        else:
            out.append(re.escape(glob[at]))
            at += 1
    return "".join(out)


_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s"}


def _bracket(inner: str, *, negated: bool) -> str:
    out: list[str] = []
    at = 0
    while at < len(inner):
        if (named := re.compile(r"\[:(\w+):\]").match(inner, at)) and named[1] in _CLASSES:
            out.append(_CLASSES[named[1]])
            at = named.end()
        elif inner[at] == "\\" and at + 1 < len(inner):
            out.append(re.escape(inner[at + 1]))
            at += 2
        elif inner[at] == "-" and 0 < at < len(inner) - 1:
            out.append("-")
            at += 1
        else:
            out.append(re.escape(inner[at]))
            at += 1
    # A slash is never matched by a bracket.
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]"
