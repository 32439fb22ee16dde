# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotate logs whose writers never open them again, as Python's FileHandler does, without losing a byte.

Renaming leaves such a writer with the old file for days; copying and truncating loses what is written in between. So
the full blocks at the beginning of a log are copied into an archive and then cut out of it, in one step that the file
system does between two writes (fallocate, FALLOC_FL_COLLAPSE_RANGE: ext4, XFS). Writers notice nothing. Where the file
system cannot (Btrfs, ZFS), the blocks are given back and leave a hole (FALLOC_FL_PUNCH_HOLE), which reads as zeros.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gzip
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

COLLAPSE_RANGE = 0x08
# With FALLOC_FL_KEEP_SIZE, which it needs.
PUNCH_HOLE = 0x02 | 0x01
UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
CHUNK = 1024 * 1024
SUFFIX = ".gz"
# Daily, for whoever looks every hour at a time of its own.
SLACK = 1800.0


@dataclass(frozen=True)
class Rule:
    """When a log is rotated, and how many archives stay. ``size``: bytes; ``age``: seconds between two rotations."""

    keep: int
    size: int
    age: float


def due(size: int, last: float | None, now: float, rule: Rule) -> bool:
    """Whether a log is to be rotated; ``last``: when it last was, None for never."""
    return size >= rule.size or last is None or now - last >= rule.age - SLACK


def cut(size: int, block: int) -> int:
    """How many bytes may be cut from the beginning: whole blocks, and never all of the file."""
    return max(0, (size - 1) // block * block)


def logs(names: Sequence[str], excluded: Sequence[str]) -> list[str]:
    """Which of a directory's files are logs to rotate."""
    return sorted(name for name in names if name.endswith(".log") and name not in excluded and name[0] != ".")


def allocate(handle: int, mode: int, length: int) -> None:
    """fallocate(2) from the beginning of a file on, which Python only has for mode 0. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(handle, mode, ctypes.c_long(0), ctypes.c_long(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def beginning(handle: int) -> int:
    """Where a file's bytes begin: behind the hole that an earlier rotation may have left."""
    try:
        return os.lseek(handle, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            # Nothing but a hole, or nothing at all.
            return os.fstat(handle).st_size
        return 0


class Directory:
    """The logs of one directory.

    The application may write into it, so no name in it is trusted: nothing is opened through a link.
    """

    def __init__(
        self,
        path: Path,
        proc: Path = Path("/proc"),
        allocate: Callable[[int, int, int], None] = allocate,
    ) -> None:
        self.path = path
        self._proc = proc
        self._allocate = allocate
        self._handle = -1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Open the directory, with no other rotation at work in it. Raises WebappsError."""
        try:
            self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise WebappsError(f"{self.path} is no directory of logs ({error.strerror}): run app_directory.") from error
        try:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WebappsError(f"Another rotation is at work in {self.path}: let it finish.") from error
            yield
        finally:
            os.close(self._handle)
            self._handle = -1

    def names(self) -> list[str]:
        with os.scandir(self._handle) as entries:
            return [entry.name for entry in entries]

    def last_rotated(self, name: str) -> float | None:
        """When the newest archive was made."""
        try:
            return os.stat(f"{name}.1{SUFFIX}", dir_fd=self._handle, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int:
        """How much disk a log takes."""
        status = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        return min(status.st_size, status.st_blocks * 512)

    def assert_can_cut(self) -> None:
        """Cut a file of our own. Raises WebappsError where the file system cannot."""
        name = f".cut-{os.getpid()}"
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._handle)
        try:
            block = os.fstatvfs(handle).f_bsize
            os.write(handle, b"x" * (block + 1))
            self._cut(handle, block, self.path)
        finally:
            os.close(handle)
            os.unlink(name, dir_fd=self._handle)

    def rotate(self, name: str, keep: int) -> int:
        """Move the full blocks of a log into its first archive; returns how many bytes. Raises WebappsError."""
        path = self.path / name
        try:
            handle = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._handle)
        except OSError as error:
            raise WebappsError(f"{path} cannot be rotated ({error.strerror}): remove or exclude it.") from error
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise WebappsError(f"{path} is no plain file with one name: remove or exclude it.")
            start, end = beginning(handle), cut(status.st_size, os.fstatvfs(handle).f_bsize)
            if end <= start:
                return 0
            self._assert_appended(path, status)
            made = self._archive(handle, start, end, name, status)
            # Dying between here and the cut leaves lines twice, never not at all.
            self._shift(name, keep)
            os.rename(made, f"{name}.1{SUFFIX}", src_dir_fd=self._handle, dst_dir_fd=self._handle)
            os.fsync(self._handle)
            self._cut(handle, end, path)
            return end - start
        finally:
            os.close(handle)

    def _cut(self, handle: int, length: int, path: Path) -> None:
        refusal = ""
        for mode in (COLLAPSE_RANGE, PUNCH_HOLE):
            try:
                return self._allocate(handle, mode, length)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                refusal = str(error.strerror)
        raise WebappsError(
            f"The file system of {path} cannot cut the beginning off a file ({refusal}): ext4 and XFS can. "
            "Move the logs to one that can, or have the application log with WatchedFileHandler and logrotate "
            "rename its logs."
        )

    def _archive(self, handle: int, start: int, end: int, name: str, status: os.stat_result) -> str:
        """Compress the beginning of an open log into a file beside it, readable to whom the log is."""
        made = f".{name}.rotating"
        with suppress(FileNotFoundError):
            os.unlink(made, dir_fd=self._handle)
        target = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(target, "wb") as stream:
                with gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as archive:
                    position = start
                    while position < end:
                        chunk = os.pread(handle, min(CHUNK, end - position), position)
                        if not chunk:
                            raise WebappsError(
                                f"{self.path / name} had {status.st_size} bytes and ends at {position} now: something "
                                "else cut it while it was copied. Have only this collection rotate it, or exclude it."
                            )
                        archive.write(chunk)
                        position += len(chunk)
                stream.flush()
                os.fchown(stream.fileno(), status.st_uid, status.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode) & 0o666)
                os.fsync(stream.fileno())
        except (OSError, WebappsError):
            # Half an archive would fill the disk more.
            os.unlink(made, dir_fd=self._handle)
            raise
        return made

    def _shift(self, name: str, keep: int) -> None:
        """Make room for a first archive, and drop those beyond what is kept."""
        archive = re.compile(re.escape(name) + r"\.(\d+)" + re.escape(SUFFIX))
        numbers = sorted((int(found[1]) for entry in self.names() if (found := archive.fullmatch(entry))), reverse=True)
        for number in numbers:
            old, new = (f"{name}.{place}{SUFFIX}" for place in (number, number + 1))
            if number >= keep:
                os.unlink(old, dir_fd=self._handle)
            else:
                os.rename(old, new, src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def _assert_appended(self, path: Path, status: os.stat_result) -> None:
        """Refuse to cut a file that a process writes at positions of its own. Raises WebappsError."""
        for process in self._proc.iterdir():
            if process.name.isdigit() and _writes_elsewhere(process, status):
                raise WebappsError(
                    f"Process {process.name} writes {path} without O_APPEND, so its next line would not be at the end. "
                    "Have it open the log for appending, or exclude the log."
                )


def _writes_elsewhere(process: Path, status: os.stat_result) -> bool:
    """Whether a process has a file open for writing, but not for appending. It may end at any moment."""
    try:
        for handle in (process / "fd").iterdir():
            found = handle.stat()
            if (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino) or process.name == str(os.getpid()):
                continue
            lines = (process / "fdinfo" / handle.name).read_text().splitlines()
            flags = int(next(line.split()[1] for line in lines if line.startswith("flags:")), 8)
            if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND:
                return True
    except OSError:
        return False
    return False
