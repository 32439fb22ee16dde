# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an application runs on this host, read from supervisor, its files, the sockets and the links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.program import CONF_DIR, PROGRAM_NAME
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    RUNNING,
    RUNNING_STATES,
    STOPPED_STATES,
    STOPPING,
    Process,
)

GROUP = re.compile(rf"(?P<program>{PROGRAM_NAME.pattern})-(?P<generation>.+-[0-9a-f]{{8}})")
SOCKET_NAME = re.compile(r"(?P<generation>.+-[0-9a-f]{8})\.sock")
NOTE = re.compile(r"^; (release|environment|proven) = (.*)$", re.MULTILINE)
STOP_WAIT = re.compile(r"^stopwaitsecs=(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Conf:
    """A generation's supervisor file. A retiring generation has none: nothing may start it again.

    ``proven``: whether it ever showed on this host that it works. ``stop_wait``: seconds until supervisor kills it.
    """

    path: Path
    text: str

    @property
    def proven(self) -> bool:
        return self._note("proven") == "yes"

    @property
    def release(self) -> str:
        return self._note("release")

    @property
    def environment(self) -> str:
        return self._note("environment")

    @property
    def stop_wait(self) -> int:
        found = STOP_WAIT.search(self.text)
        return int(found.group(1)) if found else 0

    def _note(self, key: str) -> str:
        return next((str(value) for name, value in NOTE.findall(self.text) if name == key), "")


@dataclass(frozen=True)
class Group:
    """The processes of one generation, of one program."""

    processes: Sequence[Process] = ()

    @property
    def known(self) -> bool:
        """Whether supervisor has it."""
        return bool(self.processes)

    @property
    def running(self) -> bool:
        """Whether every process stayed up long enough."""
        return self.known and all(process.state == RUNNING for process in self.processes)

    @property
    def wanted_up(self) -> bool:
        """Whether supervisor keeps any process up, or tries to."""
        return any(process.state in RUNNING_STATES for process in self.processes)

    @property
    def stopped(self) -> bool:
        return all(process.state in STOPPED_STATES for process in self.processes)

    @property
    def stopping(self) -> bool:
        """Whether any process was told to stop and has not ended."""
        return any(process.state == STOPPING for process in self.processes)

    @property
    def finishing(self) -> bool:
        """Whether all that is left are processes that were told to stop and end their work."""
        return not self.stopped and not self.wanted_up

    @property
    def state(self) -> str:
        return " ".join(sorted({process.state for process in self.processes})) or "ABSENT"


ABSENT = Group()


@dataclass(frozen=True)
class Observed:
    """What there is of one program, by generation id.

    ``live``: the generation whose socket nginx connects to. ``repo``, ``environment``: where those links point,
    relative to the root. ``leftovers``: temporary files of a call that was killed.
    """

    live: str | None = None
    repo: str | None = None
    environment: str | None = None
    confs: Mapping[str, Conf] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    sockets: frozenset[str] = frozenset()
    leftovers: tuple[Path, ...] = ()

    def group(self, generation: str) -> Group:
        return self.groups.get(generation, ABSENT)

    def proven(self, generation: str) -> bool:
        return generation in self.confs and self.confs[generation].proven

    @property
    def generations(self) -> list[str]:
        return sorted({*self.confs, *self.groups, *self.sockets})


def release_of(generation: str) -> str:
    """The release id that a generation id begins with."""
    return generation.rpartition("-")[0]


def temporary(path: Path) -> Path:
    """The name under which a link or a file is made before it takes its place."""
    return path.with_name(f".{path.name}.new")


def observe(
    layout: Layout, program: str, processes: Iterable[Process], *, serves: bool, conf_dir: Path = CONF_DIR
) -> Observed:
    """Look at everything that there is of a program. Raises WebappsError where a link of the layout is no link."""
    confs = _confs(layout, conf_dir).get(program, {})
    return Observed(
        live=live_generation(layout) if serves else None,
        repo=link_target(layout.repo),
        environment=link_target(layout.environment),
        confs=confs,
        groups=_groups(layout, processes, conf_dir).get(program, {}),
        sockets=_sockets(layout) if serves else frozenset(),
        leftovers=_leftovers(layout, program, conf_dir),
    )


def programs(layout: Layout, processes: Iterable[Process], *, conf_dir: Path = CONF_DIR) -> dict[str, Observed]:
    """What there is of every program of the application, by the program's name."""
    everything = list(processes)
    names = {*_confs(layout, conf_dir), *_groups(layout, everything, conf_dir)}
    return {name: observe(layout, name, everything, serves=False, conf_dir=conf_dir) for name in sorted(names)}


def running_now(layout: Layout, processes: Iterable[Process], *, conf_dir: Path = CONF_DIR) -> dict[str, Any]:
    """All that runs of an application on this host, as plain data for people and assertions."""
    rows = [
        _row(program, generation, seen)
        for program, seen in programs(layout, processes, conf_dir=conf_dir).items()
        for generation in seen.generations
    ]
    repo, environment = link_target(layout.repo), link_target(layout.environment)
    return {
        "releases": sorted({row["release"] for row in rows if not row["retiring"] and _alive(row)}),
        "live": _live(layout),
        "repo": Path(repo).name if repo else None,
        "environment": Path(environment).name if environment else None,
        "programs": rows,
    }


def _row(program: str, generation: str, seen: Observed) -> dict[str, Any]:
    group = seen.group(generation)
    directories = {_working_directory(process.pid) for process in group.processes if process.pid}
    return {
        "program": program,
        "generation": generation,
        "release": release_of(generation),
        "running_from": sorted(directories - {""}),
        "state": group.state,
        "proven": seen.proven(generation),
        "retiring": generation not in seen.confs,
        "processes": [
            {"name": each.name, "state": each.state, "pid": each.pid, "uptime": each.uptime} for each in group.processes
        ],
    }


def _alive(row: dict[str, Any]) -> bool:
    return any(process["pid"] for process in row["processes"])


def _live(layout: Layout) -> dict[str, Any] | None:
    generation = live_generation(layout)
    if generation is None:
        return None
    socket = layout.live_socket.readlink()
    return {
        "generation": generation,
        "release": release_of(generation),
        "socket": str(socket),
        "listening": socket.is_socket(),
    }


def _working_directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def live_generation(layout: Layout) -> str | None:
    target = link_target(layout.live_socket)
    found = SOCKET_NAME.fullmatch(Path(target).name) if target else None
    return found["generation"] if found else None


def link_target(path: Path) -> str | None:
    """Where a link points; None when there is nothing. Raises WebappsError for anything that is not a link."""
    if path.is_symlink():
        return str(path.readlink())
    if path.exists():
        raise WebappsError(
            f"{path} is not a symbolic link, so this host was not set up by this collection: run the playbook "
            "carpentries.webapps.adopt, or move it away."
        )
    return None


def _confs(layout: Layout, conf_dir: Path) -> dict[str, dict[str, Conf]]:
    found: dict[str, dict[str, Conf]] = {}
    for path in sorted(conf_dir.glob(f"{layout.domain}-*.conf")):
        named = GROUP.fullmatch(path.name.removeprefix(f"{layout.domain}-").removesuffix(".conf"))
        if named:
            conf = Conf(path, path.read_text(encoding="utf-8", errors="replace"))
            found.setdefault(named["program"], {})[named["generation"]] = conf
    return found


def _groups(layout: Layout, processes: Iterable[Process], conf_dir: Path) -> dict[str, dict[str, Group]]:
    members: dict[tuple[str, str], list[Process]] = {}
    for process in processes:
        named = GROUP.fullmatch(process.group)
        if named and _belongs(layout, process, named["generation"], conf_dir):
            members.setdefault((named["program"], named["generation"]), []).append(process)
    found: dict[str, dict[str, Group]] = {}
    for (program, generation), listed in sorted(members.items()):
        found.setdefault(program, {})[generation] = Group(tuple(listed))
    return found


def _belongs(layout: Layout, process: Process, generation: str, conf_dir: Path) -> bool:
    # Names of groups say nothing of the domain, and other applications of the host must stay untouched.
    return (
        (conf_dir / f"{layout.domain}-{process.group}.conf").exists()
        or layout.release(release_of(generation)).is_dir()
        or Path(process.logfile).is_relative_to(layout.root)
    )


def _sockets(layout: Layout) -> frozenset[str]:
    names = (SOCKET_NAME.fullmatch(path.name) for path in layout.run_dir.glob("*.sock"))
    return frozenset(name["generation"] for name in names if name)


def _leftovers(layout: Layout, program: str, conf_dir: Path) -> tuple[Path, ...]:
    links = (temporary(path) for path in (layout.live_socket, layout.repo, layout.environment))
    confs = conf_dir.glob(f".{layout.domain}-{program}-*.conf.new")
    return tuple(sorted(path for path in (*links, *confs) if path.is_symlink() or path.exists()))
