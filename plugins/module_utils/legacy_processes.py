# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of the processes of a server laid out by hand: where they run, listen and write."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTENING_TCP, LISTENING_UNIX = "0A", "00010000"


@dataclass(frozen=True)
class LegacyProcess:
    """``groups``: the numbers of the groups that it may act as. ``started``: clock ticks after the machine's boot."""

    pid: int
    parent: int
    arguments: tuple[str, ...]
    directory: str
    user: int
    groups: frozenset[int]
    started: int = 0

    def runs_from(self, tree: Path) -> bool:
        """Whether it runs a program of this tree; a shell that stands in it does not."""
        inside = f"{tree}/"
        named = any(argument.startswith(inside) for argument in self.arguments[:2])
        relative = bool(self.arguments) and self.arguments[0].startswith((".venv/", "./.venv/"))
        return named or (relative and f"{self.directory}/".startswith(inside))


def processes(proc: Path = PROC) -> dict[int, LegacyProcess]:
    """All processes that can be read, by pid."""
    found = (_process(path) for path in proc.iterdir() if path.name.isdigit())
    return {process.pid: process for process in found if process}


def _process(path: Path) -> LegacyProcess | None:
    try:
        status = dict(
            line.split(":", 1) for line in (path / "status").read_text(errors="replace").splitlines() if ":" in line
        )
        arguments = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        directory = str((path / "cwd").readlink())
        # The name, in parentheses, may hold anything.
        started = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        # It ended, or is the kernel's.
        return None
    return LegacyProcess(
        pid=int(path.name),
        parent=int(status["PPid"]),
        arguments=tuple(argument for argument in arguments if argument),
        directory=directory,
        user=int(status["Uid"].split()[1]),
        groups=frozenset(int(group) for group in [status["Gid"].split()[1], *status["Groups"].split()]),
        started=int(started),
    )


def descendants(everything: dict[int, LegacyProcess], ancestors: Collection[int]) -> set[int]:
    """These processes and all that they started."""
    family = {pid for pid in ancestors if pid in everything}
    while more := {pid for pid, process in everything.items() if process.parent in family} - family:
        family |= more
    return family


def environment(pid: int, proc: Path = PROC) -> dict[str, str]:
    """The variables that a process was started with; empty when it ended."""
    try:
        text = (proc / str(pid) / "environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def written_below(pids: Collection[int], tree: Path, proc: Path = PROC) -> set[Path]:
    """The files of a tree that processes have open for writing."""
    found = set()
    for pid in pids:
        for descriptor, target in _descriptors(proc / str(pid)):
            path = Path(target)
            if path.is_relative_to(tree) and _writes(descriptor):
                found.add(path)
    return found


def _descriptors(process: Path) -> Iterator[tuple[Path, str]]:
    try:
        listed = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in listed:
        try:
            yield process / "fdinfo" / descriptor.name, str(descriptor.readlink())
        except OSError:
            continue


def _writes(descriptor: Path) -> bool:
    try:
        lines = descriptor.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split()[1] for line in lines if line.startswith("flags:")), "0")
    return bool(int(flags, 8) & 0o3)


def listening(pids: Collection[int], proc: Path = PROC) -> set[str]:
    """Where processes listen: paths of unix sockets, and ``address:port``."""
    held = {
        target.removeprefix("socket:[").removesuffix("]")
        for pid in pids
        for _descriptor, target in _descriptors(proc / str(pid))
        if target.startswith("socket:[")
    }
    found = set()
    for row in _rows(proc / "net" / "unix"):
        # Number, reference count, protocol, flags, type, state, inode, path.
        if len(row) > 7 and row[6] in held and row[3] == LISTENING_UNIX:
            found.add(row[7])
    for name in ("tcp", "tcp6"):
        for row in _rows(proc / "net" / name):
            if len(row) > 9 and row[9] in held and row[3] == LISTENING_TCP:
                found.add(_address(row[1]))
    return found


def _rows(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []


def _address(text: str) -> str:
    """The kernel writes addresses as hexadecimal words, each in the machine's order of bytes."""
    number, _, port = text.partition(":")
    words = [bytes.fromhex(number[start : start + 8])[::-1] for start in range(0, len(number), 8)]
    return f"{ipaddress.ip_address(b''.join(words))}:{int(port, 16)}"
