# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a release, run as the application with its environment; what they print shows none of its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.carpentries.webapps.plugins.module_utils import environment
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import Application
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import linked_environment, linked_release


@dataclass(frozen=True)
class Masked:
    """Runs commands of an application; values of its environment are *** in what they wrote."""

    run: Run
    application: Application

    def __call__(self, words: Sequence[str]) -> Finished:
        application = self.application
        finished = self.run(application.command(words), directory=application.directory)
        path = application.layout.environments / application.environment
        found = environment.read_back(path.read_text(encoding="utf-8"))
        # The domain is part of every path, and no secret.
        variables = {name: value for name, value in found.items() if value not in str(application.directory)}
        output, errors = (environment.masked(text, variables) for text in (finished.output, finished.errors))
        return Finished(finished.status, output, errors)


def serves(layout: Layout, release: str, digest: str) -> bool:
    """Whether a host serves a release with this environment already."""
    return (linked_release(layout), linked_environment(layout)) == (release, digest)


def command(run: Run, application: Application, words: Sequence[str], remedy: str) -> list[str]:
    """Run a command of a staged release and return the lines that it wrote. Raises WebappsError when it fails."""
    finished = Masked(run, application)(words)
    if finished.status != 0:
        shown = f"`{' '.join(words)}` failed in {application.directory}: {finished.last_words}"
        raise WebappsError(f"{shown}\n{remedy}".strip())
    return [*finished.output.splitlines(), *finished.errors.splitlines()]
