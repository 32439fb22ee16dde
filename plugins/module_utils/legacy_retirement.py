# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take programs and the virtual host of a server laid out by hand out of service, and bring them back.

supervisor kills a program that does not end within its stopwaitsecs, 10 seconds unless somebody raised them, and a job
or a slow request with it. So programs are told to stop behind supervisor's back, and get all the time they need.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.carpentries.webapps.plugins.module_utils import legacy_processes
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_import import note, record
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_nginx import Site
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_processes import LegacyProcess
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import (
    LegacyProgram,
    kind_of,
    read_conf,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Aside, Places, runners
from ansible_collections.carpentries.webapps.plugins.module_utils.nginx import WORKER_TITLE
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process

POLL = 0.2
# Seconds in which supervisor must have stopped what it has just started again.
FRESH = 60.0
OLD_WORKER = f"{WORKER_TITLE} is shutting down"


class Control(Protocol):
    """What is needed of supervisord; see module_utils/supervisor.py."""

    def processes(self) -> list[Process]: ...
    def reread(self) -> None: ...
    def add(self, group: str) -> None: ...
    def stop(self, group: str) -> None: ...
    def remove(self, group: str) -> bool: ...


@dataclass(frozen=True)
class Tools:
    """The world outside. ``terminate``: tell a process to stop."""

    supervisor: Control
    processes: Callable[[], Mapping[int, LegacyProcess]]
    terminate: Callable[[int], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def terminate(pid: int) -> None:
    """Send SIGTERM; a process that has ended is told enough."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def move(path: Path, target: Path) -> None:
    """Move a file, or what a link points at, also to another file system: there is always one of both."""
    keep(path, target)
    path.unlink()


def keep(path: Path, target: Path) -> None:
    """Copy a file, at once and whole."""
    if not target.parent.is_dir():
        target.parent.mkdir(mode=0o700, parents=True)
    made = target.with_name(f".{target.name}.new")
    shutil.copy2(path, made)
    made.replace(target)


def retire(
    program: LegacyProgram, aside: Aside, places: Places, tools: Tools, patience: float, *, check: bool
) -> list[str]:
    """Stop a program after its last work and forget it; return what was done.

    ``patience``: seconds for that work. Raises WebappsError when it takes longer; nothing is lost then, and the next
    call goes on waiting.
    """
    steps = []
    if program.conf and program.conf.parent == places.programs:
        # The file goes first: a machine that boots now must not start what is on its way out.
        if not check:
            move(program.conf, aside.programs / program.conf.name)
        steps.append(f"move {program.conf} to {aside.programs / program.conf.name}")
    if program.known:
        if not check:
            _end(program, aside, tools, patience)
        steps.append(f"stop the program {program.name} after its last work, and remove it from supervisor")
    return steps


def _end(program: LegacyProgram, aside: Aside, tools: Tools, patience: float) -> None:
    everything = dict(tools.processes())
    told = [process.pid for process in runners(program, everything)] or program.pids
    family = legacy_processes.descendants(everything, [*told, *program.pids])
    waiting = _tell(program, [everything[pid] for pid in told if pid in everything], everything, aside, tools)
    deadline = tools.clock() + patience
    while told:
        alive = tools.processes()
        if not family & set(alive):
            break
        for pid in [pid for pid, work in waiting.items() if not work & set(alive)]:
            del waiting[pid]
            tools.terminate(pid)
        if tools.clock() >= deadline:
            raise WebappsError(
                f"The program {program.name} was told to stop and still works after {patience:.0f} s "
                f"(processes {', '.join(map(str, sorted(family & set(alive))))}). Its work goes on, and it takes "
                "nothing new: run the playbook again when that has ended, or raise adopt_longest_job."
            )
        tools.sleep(POLL)
    # With autorestart supervisor has started it again; that one has no work yet.
    deadline = tools.clock() + FRESH
    while True:
        tools.supervisor.stop(program.name)
        if tools.supervisor.remove(program.name):
            return
        if tools.clock() >= deadline:
            raise WebappsError(f"supervisor cannot stop the program {program.name}: see `supervisorctl status`.")
        tools.sleep(POLL)


def _tell(
    program: LegacyProgram,
    processes: Collection[LegacyProcess],
    everything: dict[int, LegacyProcess],
    aside: Aside,
    tools: Tools,
) -> dict[int, set[int]]:
    """Tell a program's processes to stop, and return what those still do that must not be told again meanwhile.

    A second SIGTERM has an RQ worker kill its job (``Worker.request_force_stop``). The first is noted before it is
    sent: a worker that is noted was told, unless a run was killed in between, and then it outlives the job that it has.
    """
    noted: list[str] = record(aside).get("told", [])
    waiting: dict[int, set[int]] = {}
    for process in processes:
        mark = f"{process.pid}:{process.started}"
        work = legacy_processes.descendants(everything, [process.pid]) - {process.pid}
        if program.kind == "rqworker" and mark in noted and work:
            waiting[process.pid] = work
            continue
        noted = [*noted, mark]
        note(aside, told=noted)
        tools.terminate(process.pid)
    return waiting


def restore(kind: str, aside: Aside, places: Places, tools: Tools, *, check: bool) -> list[str]:
    """Have the programs of a kind that were retired run again; return what was done."""
    steps = []
    for path in sorted(aside.programs.glob("*.conf")):
        conf = read_conf(path)
        names = [name for name, section in conf.programs.items() if kind_of(section.get("command", "")) == kind]
        if not names:
            continue
        steps.append(f"move {path} back to {places.programs / path.name} and start {', '.join(names)}")
        if not check:
            move(path, places.programs / path.name)
            tools.supervisor.reread()
            for name in names:
                tools.supervisor.add(name)
    return steps


def await_old_nginx_workers(tools: Tools, patience: float) -> bool:
    """Wait until no worker of an earlier configuration answers any more. False when some still do."""
    deadline = tools.clock() + patience
    while any(" ".join(process.arguments).startswith(OLD_WORKER) for process in tools.processes().values()):
        if tools.clock() >= deadline:
            return False
        tools.sleep(POLL)
    return True


def site_aside(site: Site, layout: Layout, places: Places, *, check: bool) -> list[str]:
    """Take a virtual host out of nginx's configuration on disk; what nginx runs with stays until it is reloaded."""
    aside = Aside(layout)
    target = aside.nginx / site.path.relative_to(places.nginx)
    # Somebody may have a file of the name that the role nginx writes.
    written = places.nginx / "sites-available" / f"{layout.domain}.conf"
    twin = aside.nginx / written.relative_to(places.nginx)
    replaced = written.exists() and "live.sock" not in written.read_text(errors="replace")
    steps = [f"keep {written} as {twin}"] if replaced else []
    steps.append(f"move {site.path} to {target}")
    if check:
        return steps
    if replaced:
        keep(written, twin)
    note(aside, nginx=str(site.path))
    move(site.path, target)
    return steps


def site_back(layout: Layout, places: Places, *, check: bool) -> list[str]:
    """Put the virtual host back that was set aside, in the place of the one that was to follow it."""
    aside = Aside(layout)
    noted = record(aside).get("nginx")
    path = Path(noted) if noted else None
    kept = aside.nginx / path.relative_to(places.nginx) if path else None
    if path is None or kept is None or not kept.exists():
        return []
    enabled = places.nginx / "sites-enabled" / f"{layout.domain}.conf"
    followed = enabled.is_symlink() and enabled != path
    steps = [f"remove {enabled}"] if followed else []
    steps.append(f"move {kept} back to {path}")
    if check:
        return steps
    if followed:
        enabled.unlink()
    move(kept, path)
    return steps
