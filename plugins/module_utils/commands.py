# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the collection's logic runs programs: through a function that is passed in, so tests choose what runs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any, Protocol

# Messages are read by this code and by people who search for them.
LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
MAX_LINES = 40
FRAMES = "Traceback (most recent call last):"


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

    @property
    def reason(self) -> str:
        """Why it ended: of a Python traceback the exception alone, of anything else the last words."""
        _before, traceback, frames = self.errors.rpartition(FRAMES)
        raised = list(dropwhile(lambda line: not line or line[0].isspace(), frames.splitlines())) if traceback else []
        return "\n".join(raised).strip() or self.last_words


class Run(Protocol):
    """Runs a program to its end; a program that cannot be found has the exit status 127."""

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished: ...


NOT_FOUND = 127


class Module(Protocol):
    """What is needed of an AnsibleModule; hosts run this code without Ansible too."""

    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]: ...


def runner(module: Module) -> Run:
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


def run_here(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """The Run of a program that a timer or a hook starts (module carpentries.webapps.host_program installs those)."""
    try:
        done = subprocess.run(
            list(command),
            cwd=directory,
            env={**os.environ, **LOCALE, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        return Finished(NOT_FOUND, "", str(error))
    return Finished(done.returncode, done.stdout, done.stderr)


def run_attached(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """A Run whose program sees the end of its standard input when this process ends, however it ends."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            list(command),
            cwd=directory,
            env={**os.environ, **LOCALE, **(environment or {})},
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        os.close(writing)
        return Finished(NOT_FOUND, "", str(error))
    finally:
        os.close(reading)

    def detach() -> None:
        # runuser may be killed alone: what it started then holds the other pipes open until it is told.
        process.wait()
        os.close(writing)

    threading.Thread(target=detach, daemon=True).start()
    output, errors = process.communicate()
    return Finished(process.returncode, output, errors)
