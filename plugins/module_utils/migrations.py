# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database migrations of a staged release: which are pending, and applying them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import is_complete

LAUNCHER = "/usr/local/bin/webapps-run"
# How `manage.py showmigrations --plan` marks one that is not applied.
PENDING = re.compile(r"\[ \]\s+(\S+)")
TIMED_OUT = "canceling statement due to lock timeout"


@dataclass(frozen=True)
class Application:
    """How commands of a release are run: as the application's user, with an environment file, in its directory."""

    layout: Layout
    release: str
    environment: str
    user: str

    @property
    def directory(self) -> Path:
        return self.layout.release(self.release)

    def command(self, words: Sequence[str]) -> list[str]:
        environment = str(self.layout.environments / self.environment)
        return ["runuser", "--user", self.user, "--", LAUNCHER, environment, *words]


def is_staged(application: Application) -> bool:
    """Whether the release's commands can run at all, which is not so in the check mode of a first deploy."""
    environment = application.layout.environments / application.environment
    return is_complete(application.layout, application.release) and environment.is_file()


def pending(run: Run, application: Application, plan_command: Sequence[str]) -> list[str]:
    """The migrations that the release brings and the database lacks, in order. Raises WebappsError."""
    finished = run(application.command(plan_command), directory=application.directory)
    if finished.status != 0:
        raise WebappsError(
            f"`{' '.join(plan_command)}` failed in {application.directory}: {finished.last_words}\n"
            "Check the database's address and password in app_release_environment."
        )
    return [found[1] for line in finished.output.splitlines() if (found := PENDING.match(line))]


def migrate(run: Run, application: Application, command: Sequence[str], *, lock_timeout: int) -> Finished:
    """Apply what is pending. ``lock_timeout``: seconds that a statement may wait for others. Raises WebappsError."""
    limits: Mapping[str, str] = {"PGOPTIONS": f"-c lock_timeout={lock_timeout}s"}
    finished = run(application.command(command), directory=application.directory, environment=limits)
    if finished.status != 0:
        advice = (
            "Another transaction holds a lock that a migration needs; running requests would have queued behind it. "
            "Nothing of that migration was applied: deploy again in a quiet moment, or raise app_release_lock_timeout."
            if TIMED_OUT in finished.output + finished.errors
            else "No host runs the new release yet. Migrations before the one that failed stay applied."
        )
        raise WebappsError(f"`{' '.join(command)}` failed: {finished.last_words}\n{advice}")
    return finished
