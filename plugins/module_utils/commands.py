# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the collection's logic runs programs: through a function that is passed in, so tests choose what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible.module_utils.basic import AnsibleModule

# Messages are read by this code and by people who search for them.
LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
MAX_LINES = 40


@dataclass(frozen=True)
class Finished:
    """A program that ended: its exit status and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """The end of what it wrote, errors after output, for a message."""
        lines = [line for text in (self.output, self.errors) for line in text.strip().splitlines()]
        return "\n".join(lines[-MAX_LINES:]) or f"nothing was printed, the exit status was {self.status}"


class Run(Protocol):
    """Runs a program to its end; a program that cannot be found has the exit status 127."""

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished: ...


NOT_FOUND = 127


def runner(module: AnsibleModule) -> Run:
    """The Run that a module uses on its host."""

    def run(
        command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        try:
            status, output, errors = module.run_command(
                list(command),
                cwd=str(directory) if directory else None,
                environ_update={**LOCALE, **(environment or {})},
                expand_user_and_vars=False,
                handle_exceptions=False,
                ignore_invalid_cwd=False,
            )
        except FileNotFoundError as error:
            return Finished(NOT_FOUND, "", str(error))
        return Finished(status, output, errors)

    return run
