# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world outside of a publish: what it needs of the host, and the parts that are only a command or a clock."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import (
    Answer,
    HttpProbe,
    over_tcp,
    over_unix_socket,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import Front
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process

# For commands of the application: its own tools come with the release, the rest from the system.
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. ``status``: its exit status, or None when it was stopped at the end of its time."""

    status: int | None
    output: str


class Control(Protocol):
    """What is needed of supervisord; see module_utils/supervisor.py."""

    def processes(self) -> list[Process]: ...
    def reread(self) -> None: ...
    def add(self, group: str) -> None: ...
    def start(self, group: str) -> None: ...
    def stop(self, group: str) -> None: ...
    def remove(self, group: str) -> bool: ...
    def log_tail(self, size: int) -> str: ...


class RunCommand(Protocol):
    """Runs a command as a user in a directory, for at most ``timeout`` seconds."""

    def __call__(
        self, argv: list[str], *, user: str, cwd: Path, stdin: str, variables: Mapping[str, str], timeout: float
    ) -> CommandResult: ...


@dataclass(frozen=True)
class Tools:
    """The world outside. ``now``: UTC in ISO 8601. ``backlog``: connections that wait on a socket, None if unknown."""

    supervisor: Control
    files: Files
    ask_socket: Callable[[Path, HttpProbe, float], Answer]
    ask_front: Callable[[Front, float], Answer]
    run: RunCommand
    backlog: Callable[[Path], int | None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    now: Callable[[], str]


def run_command(
    argv: list[str], *, user: str, cwd: Path, stdin: str, variables: Mapping[str, str], timeout: float
) -> CommandResult:
    """Run a command as ``user`` (as the caller, if that is not root) with nothing of the caller's environment."""
    account = pwd.getpwnam(user)
    environment = {"PATH": PATH, "HOME": account.pw_dir, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8", **variables}
    root = os.geteuid() == 0
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environment,
        text=True,
        errors="replace",
        start_new_session=True,
        umask=0o027,
        user=account.pw_uid if root else None,
        group=account.pw_gid if root else None,
        extra_groups=os.getgrouplist(user, account.pw_gid) if root else None,
    )
    try:
        output, _errors = process.communicate(stdin, timeout)
        return CommandResult(process.returncode, output)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _errors = process.communicate()
        return CommandResult(None, output)


def backlog(socket: Path) -> int | None:
    """How many connections wait for the program that listens on ``socket``: 0 if none listens, None without ``ss``."""
    try:
        shown = subprocess.run(
            ["ss", "-xlH"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={"PATH": f"{PATH}:/usr/sbin:/sbin"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    # Columns: kind, state, waiting, limit, address, inode, peer, inode.
    rows = (line.split() for line in shown.splitlines())
    return sum(int(row[2]) for row in rows if len(row) > 4 and row[4] == str(socket))


def now() -> str:
    """UTC in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def host_tools(supervisor: Control) -> Tools:
    """The tools of the host that this runs on."""
    return Tools(
        supervisor=supervisor,
        files=Files(),
        ask_socket=over_unix_socket,
        ask_front=lambda front, timeout: over_tcp(front.address, front.port, front.scheme, front.probe, timeout),
        run=run_command,
        backlog=backlog,
        clock=time.monotonic,
        sleep=time.sleep,
        now=now,
    )
