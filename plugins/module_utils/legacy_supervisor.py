# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that supervisor runs on a server laid out by hand: read from its files, stopped without killing work."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.generations import GROUP
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process

GUNICORN, RQWORKER, RQSCHEDULER = KINDS = ("gunicorn", "rqworker", "rqscheduler")
_PATTERNS = {
    RQSCHEDULER: re.compile(r"\brqscheduler\b"),
    RQWORKER: re.compile(r"\brqworker\b|\brq[\s:]+worker\b"),
    GUNICORN: re.compile(r"\bgunicorn\b"),
}
PROGRAM = re.compile(r"(?:program|fcgi-program|eventlistener):(.+)")


def kind_of(command: str) -> str | None:
    """What a command starts, or None for what nobody here knows."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(command)), None)


@dataclass(frozen=True)
class ConfFile:
    """A file of programs. ``programs``: their sections by name; ``members``: those that a group takes in."""

    path: Path
    programs: Mapping[str, Mapping[str, str]]
    members: frozenset[str]
    includes: str = ""


def read_conf(path: Path) -> ConfFile:
    """Read one of supervisor's files. Raises configparser.Error or OSError."""
    parser = configparser.RawConfigParser(
        strict=False, delimiters=("=", ":"), inline_comment_prefixes=(";", "#"), empty_lines_in_values=False
    )
    parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    named = {section: PROGRAM.fullmatch(section) for section in parser.sections()}
    groups = [parser[section].get("programs", "") for section in parser.sections() if section.startswith("group:")]
    return ConfFile(
        path,
        {found[1].strip(): dict(parser[section]) for section, found in named.items() if found},
        frozenset(name.strip() for names in groups for name in names.split(",") if name.strip()),
        parser["include"].get("files", "") if parser.has_section("include") else "",
    )


@dataclass(frozen=True)
class LegacyProgram:
    """A program of the application that this collection did not write.

    ``conf``: its file, in supervisor's directory or set aside. ``known``: whether supervisord still has it.
    """

    name: str
    kind: str | None
    command: str
    conf: Path | None
    processes: tuple[Process, ...]

    @property
    def known(self) -> bool:
        return bool(self.processes)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes if process.pid]


def is_ours(layout: Layout, path: Path) -> bool:
    """Whether publish wrote a file."""
    stem = path.name.removesuffix(".conf")
    return stem.startswith(f"{layout.domain}-") and bool(GROUP.fullmatch(stem.removeprefix(f"{layout.domain}-")))


def concerns(layout: Layout, section: Mapping[str, str]) -> bool:
    """Whether a program has to do with the application: it names the application's directory."""
    text = f"{section.get('command', '')} {section.get('directory', '')}"
    return bool(re.search(rf"{re.escape(str(layout.root))}(?![\w.-])", text))


def legacy_programs(
    layout: Layout, confs: Iterable[ConfFile], listed: Iterable[Process], commands: Mapping[int, str]
) -> list[LegacyProgram]:
    """The application's programs, from files and from what supervisord has.

    ``commands``: command lines of its processes by pid, because a file may name a script that hides what it starts.
    """
    by_group: dict[str, list[Process]] = {}
    for process in listed:
        by_group.setdefault(process.group, []).append(process)
    found: dict[str, LegacyProgram] = {}
    for conf in confs:
        for name, section in conf.programs.items():
            if concerns(layout, section) and name not in found:
                processes = tuple(by_group.get(name, ()))
                command = section.get("command", "")
                running = " ".join(commands.get(process.pid, "") for process in processes)
                kind = kind_of(running) or kind_of(command)
                found[name] = LegacyProgram(name, kind, command, conf.path, processes)
    return sorted(found.values(), key=lambda program: program.name)
