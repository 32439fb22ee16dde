# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of an application: variables, and the file of them that a shell reads.

Values are secrets: no message of this file contains one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DIGEST_LENGTH = 8
# Shorter values than these are words of their own everywhere, and no secrets.
SHORTEST_SECRET, SHORTEST_PASSWORD = 6, 4
# Names of modules and directories, which messages are about.
PLAIN = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PATH", "TZ"}
LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[^=\s]+)\s*=(?P<value>.*)")


def problems(variables: object) -> list[str]:
    """What keeps these from being environment variables, a sentence each, with names and without values."""
    if not isinstance(variables, Mapping):
        return [f"app_release_environment must be a dictionary of names and values, not {_kind(variables)}."]
    found = [
        f'"{name}" is no name of an environment variable: use letters, digits and _, not beginning with a digit.'
        for name in variables
        if not isinstance(name, str) or not NAME.fullmatch(name)
    ]
    for name, value in variables.items():
        if not isinstance(value, (str, bool, int, float)):
            found.append(f"The value of {name} is {_kind(value)}: give text, a number, true or false.")
        elif "\0" in str(value):
            found.append(f"The value of {name} holds a NUL character, which no environment variable can.")
    return found


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def as_text(value: object) -> str:
    """A value as the application reads it; truth as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def content(variables: Mapping[str, object]) -> str:
    """The file: one assignment each, in the order of names, quoted so that a shell changes nothing.

    Raises WebappsError, naming every problem.
    """
    if found := problems(variables):
        raise WebappsError(f"app_release_environment cannot be used. {' '.join(found)}")
    return "".join(f"{name}={quoted(as_text(variables[name]))}\n" for name in sorted(variables))


def quoted(value: str) -> str:
    """Text in single quotes, as a POSIX shell reads it back."""
    return "'" + value.replace("'", "'\\''") + "'"


def digest(text: str) -> str:
    """The name of the file with this content."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def parsed(text: str) -> dict[str, str]:
    """The variables of a file of NAME=value lines. Raises WebappsError with the number of a line that is none.

    Empty lines and lines that begin with # are skipped, and `export` before a name. A value in single or double
    quotes loses them; apart from that it is taken as it stands.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            raise WebappsError(f"line {number} is no NAME=value")
        value = found["value"].strip()
        unquoted = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
        variables[found["name"]] = unquoted
    return variables


def read_back(text: str) -> dict[str, str]:
    """The variables of a file that :func:`content` made."""
    return dict(word.split("=", 1) for word in shlex.split(text))


def differences(before: Mapping[str, str], after: Mapping[str, object]) -> dict[str, list[str]]:
    """The names of variables that came, went or have another value, each sorted; never a value."""
    wanted = {name: as_text(value) for name, value in after.items()}
    return {
        "added": sorted(wanted.keys() - before.keys()),
        "removed": sorted(before.keys() - wanted.keys()),
        "changed": sorted(name for name in wanted.keys() & before.keys() if wanted[name] != before[name]),
    }


def masked(text: str, variables: Mapping[str, str]) -> str:
    """What a program wrote, with *** in place of every value of its environment."""
    for secret in sorted({word for pair in variables.items() for word in _secrets(*pair)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(name: str, value: str) -> Iterator[str]:
    """A value in every way in which a program may show it."""
    if name in PLAIN:
        return
    yield from (word for word in (value, repr(value)[1:-1], *value.splitlines()) if len(word) >= SHORTEST_SECRET)
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return
    yield from (word for word in (password, unquote(password)) if len(word) >= SHORTEST_PASSWORD)


def is_current(path: Path, text: str, group: int) -> bool:
    """Whether a file has this content and may be read by its group and nobody else."""
    try:
        status = path.stat()
        owned = (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.geteuid(), group, 0o640)
        return owned and path.read_text(encoding="utf-8") == text
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def write(path: Path, text: str, group: int) -> None:
    """Write a file that its group may read and nobody else, at once and whole."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchown(stream.fileno(), -1, group)
        os.fchmod(stream.fileno(), 0o640)
        os.fsync(stream.fileno())
    temporary.replace(path)
