# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to the file system that a reader, or a machine that dies here, sees entirely or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import temporary

LOCK_POLL = 0.2


class Files:
    """The changes that a publish makes. Killed in the middle, each leaves at most one file named by ``temporary``."""

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Replace a file. Only root may read it, unless ``mode`` says otherwise."""
        self._made(path, text, mode).replace(path)

    def create(self, path: Path, text: str) -> None:
        """Make a file for root alone, in full and only where none is. Raises FileExistsError."""
        made = self._made(path, text, 0o600)
        try:
            os.link(made, path)
        finally:
            made.unlink()

    def _made(self, path: Path, text: str, mode: int) -> Path:
        made = temporary(path)
        made.unlink(missing_ok=True)
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(handle, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        return made

    def link(self, path: Path, target: str) -> None:
        """Point a link elsewhere in one step: whoever opens ``path`` meets the old target or the new one."""
        made = temporary(path)
        made.unlink(missing_ok=True)
        made.symlink_to(target)
        made.replace(path)

    def rename(self, path: Path, name: Path) -> None:
        """Give a file another name, in the place of what had it."""
        path.replace(name)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)


@contextmanager
def alone(
    path: Path,
    patience: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    work: str = "publish",
) -> Iterator[None]:
    """Hold the lock file ``path``, which the kernel frees however its holder ends.

    A lost connection leaves the earlier call running on the host. ``patience``: seconds to wait for it. ``work``: what
    the lock is for. Raises WebappsError after that.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError as error:
        raise WebappsError(f"{path.parent} is missing: run role app_directory.") from error
    try:
        if not _locked_within(handle, patience, clock, sleep):
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            raise WebappsError(
                f"Another {work} is at work on this host (process {holder} holds {path}), after {patience:.0f} s "
                "still: let it finish, then run the same command again."
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone_in(
    directory: Path, patience: float, clock: Callable[[], float], sleep: Callable[[float], None], work: str
) -> Iterator[None]:
    """The same with a directory as the lock, for calls that may write no file. One that is missing holds nobody up."""
    if not directory.is_dir():
        yield
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _locked_within(handle, patience, clock, sleep):
            raise WebappsError(
                f"Another {work} is at work in {directory}, after {patience:.0f} s still: let it finish, then run the "
                "same command again."
            )
        yield
    finally:
        os.close(handle)


def _locked_within(handle: int, patience: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> bool:
    deadline = clock() + patience
    while not _locked(handle):
        if clock() >= deadline:
            return False
        sleep(LOCK_POLL)
    return True


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
