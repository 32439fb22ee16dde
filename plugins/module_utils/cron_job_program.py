# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that cron starts: ``cron-job CONFIGURATION NAME`` runs one job in the live release."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.cron_jobs import Stamps, live
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SKIPPED = 0
CANNOT_RUN = 126


class Log:
    """A log that is opened for each piece of text, so that it may be rotated in any way at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        # The application may write into the directory: no link is followed. A file that is there is opened without
        # O_CREAT, which the kernel refuses even root in a sticky directory (fs.protected_regular).
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
        try:
            handle = os.open(self._path, flags)
        except FileNotFoundError:
            handle = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o640)
            os.fchown(handle, -1, self._path.parent.stat().st_gid)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.write(handle, text.encode())
        finally:
            os.close(handle)


def now() -> datetime:
    return datetime.now().astimezone()


def run(
    name: str,
    settings: Mapping[str, Any],
    log: Log,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = now,
) -> int:
    """Run a job to its end and write what it prints into the log; returns its exit status. Raises WebappsError."""
    job = next((job for job in settings["jobs"] if job["name"] == name), None)
    if job is None:
        raise WebappsError("it is not among this host's jobs: run role cron again")
    stamps = Stamps(name)

    def say(text: str) -> None:
        log.write(f"{Stamps(name).stamped(text, now())}\n")

    lock = os.open(Path(settings["locks"]) / f"{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not job.get("overlap", False):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("WARNING skipped: the run before it has not ended")
        return SKIPPED
    found = live(Path(settings["root"]))
    if found is None:
        say("WARNING skipped: no release is live on this host")
        return SKIPPED
    user = pwd.getpwnam(job.get("user") or settings["user"])
    begin = clock()
    say(f"INFO starts in release {found.release.name}")
    process = subprocess.Popen(
        [settings["launcher"], str(found.environment), *shlex.split(job["command"])],
        cwd=found.release,
        user=user.pw_uid,
        group=user.pw_gid,
        # A job of another user gets the application's environment, so it may read what the application may.
        extra_groups=[*os.getgrouplist(user.pw_name, user.pw_gid), grp.getgrnam(settings["group"]).gr_gid],
        env={
            "PATH": PATH,
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "LOGNAME": user.pw_name,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            # What a job printed before it hung is what people look for.
            "PYTHONUNBUFFERED": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        log.write(f"{stamps.stamped(line.rstrip(chr(10)), now())}\n")
    status = process.wait()
    took = clock() - begin
    if status == 0:
        say(f"INFO ended after {took:.1f} s")
    else:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        say(f"ERROR {how} after {took:.1f} s")
    return status if status >= 0 else 128 - status


def main() -> int:
    """What the command line says; returns the exit status."""
    configuration, name = sys.argv[1:]
    settings = json.loads(Path(configuration).read_text(encoding="utf-8"))
    log = Log(Path(settings["log"]))
    try:
        return run(name, settings, log)
    except (WebappsError, OSError, KeyError) as error:
        log.write(f"{Stamps(name).stamped(f'ERROR did not run: {error}', now())}\n")
        return CANNOT_RUN
