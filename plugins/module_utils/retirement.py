# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retire programs on one host: let their processes finish their work, and leave nothing of them in supervisor.

As in a publish, a generation's file goes first and its processes are told to stop once, so a call that was killed is
completed by the next one. Publishing is what starts a program again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import (
    ABSENT,
    GROUP,
    Group,
    Observed,
    live_generation,
    programs,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.program import CONF_DIR
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import Control
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    Process,
    SupervisorNotRunningError,
)

POLL = 0.5


@dataclass(frozen=True)
class Retirement:
    """One call. ``names``, ``keep``: programs to retire and to leave alone, as patterns with ``*``.

    ``timeout``: seconds to wait for work under way. ``must_end``: whether work that goes on after that is an error.
    """

    layout: Layout
    names: tuple[str, ...]
    keep: tuple[str, ...] = ()
    timeout: float = 60.0
    must_end: bool = True
    conf_dir: Path = CONF_DIR


@dataclass(frozen=True)
class Outcome:
    """What a call did, or would do. ``retiring``: the groups that still finish their work."""

    changed: bool
    steps: list[str]
    retiring: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tools:
    """The world outside."""

    supervisor: Control
    files: Files
    orphans: Callable[[Path], Mapping[int, str]]
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def started_by_supervisor(root: Path, proc: Path = Path("/proc")) -> dict[int, str]:
    """The processes that run in a directory below ``root`` and were begun by a supervisor's program: pid to group.

    Children count: the process of a job outlives its worker when that is killed, and nobody but the kernel knows it.
    """
    found = {}
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            variables = (directory / "environ").read_bytes().split(b"\0")
            inside = (directory / "cwd").readlink().is_relative_to(root)
        except OSError:
            # It ended meanwhile, or belongs to the kernel.
            continue
        groups = [each.partition(b"=")[2] for each in variables if each.startswith(b"SUPERVISOR_GROUP_NAME=")]
        if inside and groups:
            found[int(directory.name)] = groups[0].decode(errors="replace")
    return found


def retire(request: Retirement, tools: Tools, *, check: bool = False) -> Outcome:
    """Have the programs finish their work and be gone. Raises WebappsError, with ``must_end`` also if they are not.

    ``check``: only say what would be done.
    """
    warnings = []
    try:
        processes = tools.supervisor.processes()
    except SupervisorNotRunningError as error:
        if not check:
            raise
        # On a host that is being set up, the role that starts supervisor has not really run either.
        warnings.append(error.message)
        processes = []
    seen = _look(request, processes)
    before = _state(seen)
    steps = [text for found in _units(seen) if (text := found.text)]
    if check:
        return Outcome(bool(steps), steps, [], before, {}, warnings)
    for unit in _units(seen):
        # The file goes first: a machine that boots now must not start what is on its way out.
        if unit.conf:
            tools.files.unlink(unit.conf)
        if unit.processes.wanted_up:
            tools.supervisor.stop(unit.group)
    left, busy = _await_end(request, tools, [unit.group for unit in _units(seen) if unit.processes.known])
    if busy and request.must_end:
        raise WebappsError(_unfinished(busy, request.timeout), retiring=sorted(left))
    return Outcome(bool(steps), steps, sorted(left), before, _state(_look(request, tools.supervisor.processes())))


@dataclass(frozen=True)
class _Unit:
    """One generation of one program."""

    group: str
    conf: Path | None
    processes: Group

    @property
    def text(self) -> str:
        """What there is to do for it; nothing for one that only has to finish its work."""
        if self.processes.wanted_up:
            return f"Let {self.group} finish its work and stop"
        if self.processes.finishing and self.conf is None:
            return ""
        return f"Remove what is left of {self.group}"


def _look(request: Retirement, processes: Iterable[Process]) -> dict[str, Observed]:
    seen = {
        name: observed
        for name, observed in programs(request.layout, processes, conf_dir=request.conf_dir).items()
        if _matches(name, request.names) and not _matches(name, request.keep)
    }
    live = live_generation(request.layout)
    for name, observed in seen.items():
        if live in observed.generations:
            raise WebappsError(
                f"Generation {live} of {name} is what nginx connects to: retired, it would leave users without an "
                "answer. Publish another generation instead."
            )
    return seen


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _units(seen: Mapping[str, Observed]) -> list[_Unit]:
    return [
        _Unit(
            f"{name}-{generation}",
            observed.confs[generation].path if generation in observed.confs else None,
            observed.group(generation),
        )
        for name, observed in seen.items()
        for generation in observed.generations
    ]


def _state(seen: Mapping[str, Observed]) -> dict[str, Any]:
    """A side of the diff."""
    return {unit.group: unit.processes.state for unit in _units(seen)}


def _await_end(request: Retirement, tools: Tools, groups: list[str]) -> tuple[list[str], list[str]]:
    """Remove the groups that end in time from supervisor; return those that do not, and the processes still at work."""
    left = list(groups)
    deadline = tools.clock() + request.timeout
    while True:
        found = _groups(tools.supervisor.processes())
        for name in tuple(left):
            group = found.get(name, ABSENT)
            if group.wanted_up:
                # It died and was started again in the moment before it was told to stop.
                tools.supervisor.stop(name)
            elif group.stopped and tools.supervisor.remove(name):
                left.remove(name)
        busy = [str(process) for name in left for process in found.get(name, ABSENT).processes]
        busy = busy or _orphans(request, tools)
        if not busy or tools.clock() >= deadline:
            return left, busy
        tools.sleep(POLL)


def _orphans(request: Retirement, tools: Tools) -> list[str]:
    """Processes that a program left behind when it was killed: they are at work, and supervisor forgot them."""
    named = {pid: GROUP.fullmatch(group) for pid, group in tools.orphans(request.layout.root).items()}
    return [
        f"{name[0]}, a process without its parent, pid {pid}"
        for pid, name in sorted(named.items())
        if name and _matches(name["program"], request.names) and not _matches(name["program"], request.keep)
    ]


def _groups(processes: Iterable[Process]) -> dict[str, Group]:
    members: dict[str, list[Process]] = {}
    for process in processes:
        members.setdefault(process.group, []).append(process)
    return {name: Group(tuple(listed)) for name, listed in members.items()}


def _unfinished(busy: list[str], timeout: float) -> str:
    return (
        f"Work is still under way after {timeout:.0f} s: {'; '.join(busy)}. It was told to stop once, finishes what it "
        "does and takes nothing new; no job was cut off. Run the same command again, or allow more time."
    )
