# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run of Ansible remembers across its worker processes: in memory, for as long as the run lasts.

Ansible evaluates a task's variables in a process of its own for every host, so a secret would be fetched again for
every task. The first who asks leaves the answer with a small process that gives it to the others and ends with the run.
This file is that process's program too, and therefore needs nothing but Python.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import resource
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# The answer is waited for while it is being fetched, but not for ever.
PATIENCE = 120.0
CREDENTIALS = struct.Struct("3i")


def run_id() -> int:
    """The process id of the run: of this process, or of its parent where this is one of Ansible's workers."""
    return os.getpid() if multiprocessing.parent_process() is None else os.getppid()


def remembered(key: str, fetch: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What was fetched for this key in this run, or what is fetched now. A failure is not remembered."""
    if not hasattr(os, "pidfd_open"):
        return fetch()
    run = run_id()
    # An abstract address: no file, and gone with the last process that holds it.
    address = "\0webapps-" + hashlib.sha256(f"{run} {_started(run)} {key}".encode()).hexdigest()
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            known = _asked(address)
            return fetch() if known is None else known
        listener.listen(128)
        # If this fails the socket closes, and whoever waits at it fetches for itself.
        found = fetch()
        _leave(listener, run, found)
    return found


def _started(process: int) -> str:
    """When a process began, so that a later one of the same number is another run."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]


def _asked(address: str) -> dict[str, str] | None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect(address)
            if _user(asking) != os.geteuid():
                return None
            with asking.makefile("rb") as answer:
                found: dict[str, str] = json.loads(answer.read())
        except (OSError, ValueError):
            return None
        return found


def _user(connection: socket.socket) -> int:
    """The user at the other end."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(raw)[1])


def _leave(listener: socket.socket, run: int, found: dict[str, str]) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, str(listener.fileno()), str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
        start_new_session=True,
        env={},
    )
    assert keeper.stdin is not None
    with keeper.stdin as pipe:
        pipe.write(json.dumps(found).encode())
    # It outlives this process on purpose.
    keeper.returncode = 0


def keep(listener: socket.socket, run: int, answer: bytes) -> None:
    """Give the answer to every process of this user that asks, until the run has ended."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end = os.pidfd_open(run)
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while end not in dict(poll.poll()):
        connection, _address = listener.accept()
        with connection:
            if _user(connection) == os.geteuid():
                connection.sendall(answer)


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.stdin.buffer.read())
