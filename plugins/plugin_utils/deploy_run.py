# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who deploys: the run of ansible-playbook that this process is part of, and whether another one still runs."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_lock import HELD, Owner, one_line
from ansible_collections.carpentries.webapps.plugins.plugin_utils.run_memory import run_id

# What CI systems call who began a job, and the job.
CI_WORDS = ("GITHUB_ACTOR", "GITHUB_RUN_ID", "GITLAB_USER_LOGIN", "CI_PIPELINE_ID", "BUILD_TAG")
POLL = 5.0


def this_run(environment: Mapping[str, str], proc: Path = Path("/proc")) -> Owner:
    """The run of ansible-playbook, the same for all of its tasks, and who began it."""
    pid = run_id()
    began = started(pid, proc)
    place = controller(proc)
    identity = f"{place or socket.gethostname()} {pid} {began}"
    return Owner(
        owner=owner(environment),
        # A letter first, so that nothing takes it for a number.
        run="r" + hashlib.sha256(identity.encode()).hexdigest()[:12],
        controller=place,
        pid=pid,
        started=began,
    )


def owner(environment: Mapping[str, str]) -> str:
    """The user and the host, and what CI says of itself."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    words = [f"{name} {one_line(environment[name])[:60]}" for name in CI_WORDS if environment.get(name)]
    return f"{user}@{socket.gethostname()}" + (f" ({', '.join(words)})" if words else "")


def controller(proc: Path = Path("/proc")) -> str:
    """Equal for two runs that see the same processes; "" where the system does not say.

    Containers share their host's boot, and often their image's machine id, but not its processes.
    """
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        processes = (proc / "self/ns/pid").readlink()
    except OSError:
        return ""
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"{machine} {boot} {processes}".encode()).hexdigest()[:16]


def started(pid: int, proc: Path = Path("/proc")) -> str:
    """When a process started, so that a later one of the same number is another; "" where nobody says."""
    if fields := _stat(pid, proc):
        return fields[19]
    try:
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return listed.stdout.strip()


def _stat(pid: int, proc: Path) -> list[str]:
    """What the kernel says of a process, from its state on; nothing where it says nothing."""
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def has_ended(lock: Mapping[str, Any], here: Owner) -> bool:
    """Whether the process that holds a lock is gone, as far as can be known here."""
    if not here.controller or lock["controller"] != here.controller or lock["run"] == here.run:
        return False
    try:
        os.kill(lock["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        # Another user's, which may be hidden from /proc as well.
        pass
    fields = _stat(lock["pid"], Path("/proc"))
    # Z: killed, and nobody has asked yet how it ended.
    return bool(fields) and (fields[0] == "Z" or (bool(lock["started"]) and fields[19] != lock["started"]))


def asked(
    ask: Callable[[Sequence[str]], dict[str, Any]],
    here: Owner,
    wait: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The module's answer: asked again when the holder turns out to have ended, and while a lock is waited for.

    ``ask`` takes the runs that are known to have ended. A freeze is not waited for.
    """
    ended: list[str] = []
    deadline, told = clock() + wait, False
    while True:
        answer = ask(ended)
        lock = answer.get("lock")
        if lock and lock["run"] not in ended and has_ended(lock, here):
            ended.append(lock["run"])
            continue
        left = deadline - clock()
        if not answer.get("failed") or answer.get("refused") != HELD or left <= 0:
            return answer
        if not told:
            say(f"The deploy lock is held by {lock['owner'] if lock else 'somebody'}; waiting for up to {wait:.0f} s.")
            told = True
        sleep(min(POLL, left))
