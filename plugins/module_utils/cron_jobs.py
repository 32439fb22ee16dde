# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled commands of an application: what an inventory may say of them, and how one run writes its log."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ALIASES = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@reboot"}
# Minute, hour, day of the month, month, day of the week.
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
PART = re.compile(r"(?:\*|(?P<first>\d+)(?:-(?P<last>\d+))?)(?:/(?P<step>[1-9]\d*))?")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
TRACEBACK = "Traceback (most recent call last):"
# What Python writes between the tracebacks of one error.
LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


def problems(jobs: object) -> list[str]:
    """What keeps these from being scheduled, a sentence each, with the remedy."""
    if not isinstance(jobs, list):
        return [f"cron_jobs must be a list of jobs, not a {type(jobs).__name__}."]
    found = []
    names = [job.get("name") for job in jobs if isinstance(job, Mapping)]
    found += [
        f'There are {names.count(name)} jobs named "{name}": give each a name of its own.'
        for name in sorted({name for name in names if isinstance(name, str) and names.count(name) > 1})
    ]
    for job in jobs:
        if not isinstance(job, Mapping):
            found.append(f"{job!r} is no job: give name, schedule and command.")
            continue
        found += _problems_of(job)
    return found


def _problems_of(job: Mapping[str, object]) -> Iterator[str]:
    name = str(job.get("name"))
    if not NAME.fullmatch(name):
        yield (
            f'"{name}" is no name of a job: use lower-case letters, digits, - and _, beginning with a letter or digit, '
            "at most 63 characters."
        )
    schedule = str(job.get("schedule"))
    if not is_schedule(schedule):
        yield (
            f'The schedule of job {name} is "{schedule}": give the five fields of crontab(5), as in "15 3 * * *", '
            f"or one of {', '.join(sorted(ALIASES))}."
        )
    try:
        words = shlex.split(str(job.get("command") or ""))
    except ValueError as error:
        yield f"The command of job {name} cannot be split into words ({error}): close its quotes."
    else:
        if not words:
            yield f"Job {name} has no command: give the program and its arguments."


def is_schedule(schedule: str) -> bool:
    """Whether cron understands a schedule."""
    if schedule in ALIASES:
        return True
    fields = schedule.split()
    names: tuple[tuple[str, ...], ...] = ((), (), (), MONTHS, DAYS)
    return (
        len(fields) == len(BOUNDS)
        and "\n" not in schedule
        and all(
            _is_field(text, low, high, known) for text, (low, high), known in zip(fields, BOUNDS, names, strict=True)
        )
    )


def _is_field(text: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    if text.lower() in names:
        return True
    for part in text.split(","):
        found = PART.fullmatch(part)
        if not found:
            return False
        first, last = (int(found[key]) if found[key] else None for key in ("first", "last"))
        if first is not None and not low <= first <= high:
            return False
        if last is not None and not (first or 0) <= last <= high:
            return False
    return True


@dataclass(frozen=True)
class Live:
    """What is live: the directories themselves, which a publish meanwhile does not change."""

    release: Path
    environment: Path


def live(root: Path, attempts: int = 10) -> Live | None:
    """The live release and its environment, or None where none is. Raises WebappsError when they do not stand still."""
    for _attempt in range(attempts):
        try:
            found = Live((root / "repo").resolve(strict=True), (root / "environment").resolve(strict=True))
            # A publish moves one link after the other.
            if (root / "repo").resolve(strict=True) == found.release:
                return found
        except FileNotFoundError:
            return None
    raise WebappsError(f"{root / 'repo'} moved {attempts} times while it was read: see what publishes there.")


class Stamps:
    """Marks the first line of each event with time and job, so that a traceback stays one event of several lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = "text"

    def stamped(self, line: str, now: datetime) -> str:
        """One line of the log for one line of output; ``now`` must know its zone."""
        self._state, continues = after(self._state, line)
        return line if continues else f"{now.strftime('%Y-%m-%dT%H:%M:%S%z')} {self._name}: {line}"


def after(state: str, line: str) -> tuple[str, bool]:
    """Where in a traceback a line leads, and whether it continues the event before it.

    ``text``: none; ``frames``: in one; ``ended``: past its exception; ``linked``: another of the same error follows.
    """
    indented = not line or line[0].isspace()
    if line.startswith(TRACEBACK):
        return "frames", state == "linked"
    if state == "frames":
        return ("frames" if indented else "ended"), True
    if state == "ended" and line in LINKS:
        return "linked", True
    if state in {"ended", "linked"} and indented:
        return state, True
    return "text", False
