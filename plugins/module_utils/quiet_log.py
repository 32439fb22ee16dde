# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until a log has not been written to for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Seconds between two looks at the file.
PAUSE = 0.5


class Mark(NamedTuple):
    """What tells one state of a log from another; rotation changes the inode, a line the size."""

    inode: int
    size: int


@dataclass(frozen=True)
class Quiet:
    """``quiet``: whether the spell came in time. ``waited``: seconds. ``writes``: looks at which the log had grown."""

    quiet: bool
    waited: float
    writes: int


def mark_of(path: Path) -> Mark | None:
    """The log's present mark; None when there is no log."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Mark(found.st_ino, found.st_size)


def wait_for_quiet(
    look: Callable[[], Mark | None],
    quiet_for: float,
    timeout: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Quiet:
    """Wait until ``look`` has answered the same for ``quiet_for`` seconds, counted from now, at most ``timeout``.

    What was quiet before the call does not count: the balancer sends requests for a while after it was told not to.
    """
    start = since = clock()
    mark, writes = look(), 0
    while True:
        now = clock()
        if now - since >= quiet_for:
            return Quiet(True, now - start, writes)
        if now - start >= timeout:
            return Quiet(False, now - start, writes)
        sleep(min(PAUSE, since + quiet_for - now, start + timeout - now))
        seen = look()
        if seen != mark:
            mark, since, writes = seen, clock(), writes + 1
