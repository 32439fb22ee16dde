# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let one user read named logs, and those that rotation puts in their place, by access control lists (POSIX ACLs).

Membership in a group would open too much: the application's group reads its secrets, adm all of a host's logs. Lists
give the user what it needs: to pass the directories, to read the files, and, as a default of the directory, to read
whatever is created there, from its first moment and whoever creates it. The mode that a file is given still limits
that: what its group may not read, the user may not.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

ENTRY = re.compile(r"(?P<default>default:)?(?P<kind>user|group|mask|other):(?P<name>[^:]*):(?P<rights>[r-][w-][x-])")
# In these everything lies, so no default is set: a file that logrotate creates anew gets the old one's list there.
SHARED = (Path("/var/log"),)


@dataclass(frozen=True)
class Acl:
    """The access control list of a file or directory: rights by (default, kind, name)."""

    rights: dict[tuple[bool, str, str], str]

    @classmethod
    def parsed(cls, text: str) -> Acl:
        """The list as getfacl prints it."""
        found = (ENTRY.match(line) for line in text.splitlines())
        return cls(
            {(bool(entry["default"]), entry["kind"], entry["name"]): entry["rights"] for entry in found if entry}
        )

    def allows(self, user: str, wanted: str, default: bool = False) -> bool:
        """Whether an entry of the user, or what others may, gives all the wanted rights."""
        named = self.rights.get((default, "user", user))
        if named is None:
            return not default and set(wanted) <= set(self.rights.get((False, "other", ""), "---"))
        mask = self.rights.get((default, "mask", ""), "rwx")
        return all(right in named and right in mask for right in wanted)


@dataclass(frozen=True)
class Grant:
    """One call of setfacl."""

    path: Path
    entries: str

    def __str__(self) -> str:
        return f"{self.path}: {self.entries}"


def grants(paths: Sequence[Path], user: str, acl: Callable[[Path], Acl]) -> list[Grant]:
    """What is missing for a user to read these files; files and directories that do not exist need nothing yet.

    Raises WebappsError for what is no log.
    """
    found: dict[Path, list[str]] = {}
    for path in paths:
        for directory in _directories(path):
            if not acl(directory).allows(user, "x"):
                found.setdefault(directory, []).append(f"user:{user}:--x")
        directory = path.parent
        if directory.is_dir() and directory not in SHARED and not acl(directory).allows(user, "rx", default=True):
            found.setdefault(directory, []).append(_default(user, acl(directory)))
        if path.is_symlink():
            raise WebappsError(f"{path} is a link: the user {user} is let read files only. Name the file itself.")
        if path.exists():
            if not stat.S_ISREG(path.stat().st_mode):
                raise WebappsError(f"{path} is no file: name a log, or remove what stands in its place.")
            if not acl(path).allows(user, "r"):
                found.setdefault(path, []).append(f"user:{user}:r--")
    return [Grant(path, ",".join(dict.fromkeys(entries))) for path, entries in found.items()]


def _directories(path: Path) -> Iterator[Path]:
    """The existing directories on the way to a file, from the root on."""
    for directory in reversed(path.parents):
        if directory.is_dir():
            yield directory


def _default(user: str, acl: Acl) -> str:
    """The entries by which new files of a directory are the user's to read, and apart from that as private as it is.

    A directory's default replaces the umask, so it is said what group and others get.
    """
    entries = [f"default:user:{user}:r-x"]
    if (True, "user", "") not in acl.rights:
        group, others = (acl.rights.get((False, kind, ""), "---").replace("w", "-") for kind in ("group", "other"))
        entries = ["default:user::rwx", f"default:group::{group}", f"default:other::{others}", *entries]
    return ",".join(entries)


class Access:
    """Access control lists of the host."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def acl(self, path: Path) -> Acl:
        """Raises WebappsError."""
        done = self._run(["getfacl", "--omit-header", "--absolute-names", "--physical", str(path)])
        if done.status != 0:
            raise WebappsError(f"The access control list of {path} cannot be read: {done.last_words}")
        return Acl.parsed(done.output)

    def apply(self, grant: Grant) -> None:
        """Raises WebappsError."""
        done = self._run(["setfacl", "--physical", "--modify", grant.entries, str(grant.path)])
        if done.status != 0:
            raise WebappsError(
                f"The access control list of {grant.path} cannot be set: {done.last_words}. "
                "The file system must support POSIX ACLs, as ext4 and XFS do."
            )

    def assert_readable(self, paths: Sequence[Path], user: str) -> None:
        """Read each file that exists as the user. Raises WebappsError, naming those that cannot be."""
        refused = []
        for path in paths:
            if path.exists():
                done = self._run(["runuser", "--user", user, "--", "head", "--bytes=1", str(path)])
                if done.status != 0:
                    refused.append(done.last_words)
        if refused:
            raise WebappsError(
                f"The user {user} cannot read what it is to send: {'; '.join(refused)}. "
                "A mode without rights for the group limits the list: let the program create its log with 0640."
            )
