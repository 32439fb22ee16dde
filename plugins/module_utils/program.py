# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation: one program, run from one release with one environment, and the supervisor section that says so."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout

# Exports the variables of a file and becomes the command (role app_directory).
LAUNCHER = "/usr/local/bin/webapps-run"
CONF_DIR = Path("/etc/supervisor/conf.d")

PROGRAM_NAME = re.compile(r"[a-z][a-z0-9_]*")
RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DIGEST = re.compile(r"[0-9a-f]{8}")
PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
USER = re.compile(r"[a-z_][a-z0-9_-]*\$?")
UMASK = re.compile(r"0?[0-7]{3}")
# supervisor's parser takes these for the beginning of a comment, and knows no way to quote them.
COMMENT = re.compile(r"(^|\s)[;#]")
STOP_SIGNALS = ("TERM", "HUP", "INT", "QUIT", "USR1", "USR2")
# More than one: a start may meet a passing shortage of memory. Few: a program that cannot start should say so soon.
START_RETRIES = 3


@dataclass(frozen=True)
class Program:
    """How a program runs, whatever the release.

    ``command``: relative to the release's directory, with the placeholders ``{socket}``, ``{release_dir}``,
    ``{generation}``, ``{root}`` and ``{process}``. ``processes``: how many. ``stop_wait``: seconds from the stop signal
    until supervisor kills. ``start_seconds``: seconds a process must stay up to count as running.
    """

    name: str
    command: str
    user: str
    stdout_logfile: str
    processes: int = 1
    umask: str = "027"
    stop_signal: str = "TERM"
    stop_wait: int = 60
    start_seconds: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = str(getattr(self, field.name))
            if "\n" in value or "\r" in value or "\0" in value:
                raise self._refused(field.name, "must be one line")
        if not PROGRAM_NAME.fullmatch(self.name):
            raise self._refused("name", "takes lower-case letters, digits and underscores, a letter first")
        if not self.command.strip():
            raise self._refused("command", "must not be empty")
        if COMMENT.search(self.command):
            raise self._refused("command", "must not hold ; or # after a space, where supervisor begins a comment")
        try:
            shlex.split(self.command)
        except ValueError as error:
            raise self._refused("command", f"cannot be split into words ({error})") from error
        if not USER.fullmatch(self.user):
            raise self._refused("user", "is no user name")
        if not PLAIN_PATH.fullmatch(self.stdout_logfile):
            raise self._refused("stdout_logfile", "must be an absolute path of letters, digits and ._-/")
        if not UMASK.fullmatch(self.umask):
            raise self._refused("umask", "must be three octal digits, quoted, for example '027'")
        if self.stop_signal not in STOP_SIGNALS:
            raise self._refused("stop_signal", f"must be one of {', '.join(STOP_SIGNALS)}")
        if self.processes < 1:
            raise self._refused("processes", "must be 1 or more")
        if self.stop_wait < 1:
            raise self._refused("stop_wait", "must be 1 second or more")
        if self.start_seconds < 0:
            raise self._refused("start_seconds", "must be 0 seconds or more")

    def _refused(self, field: str, rule: str) -> WebappsError:
        return WebappsError(f"program.{field} is {getattr(self, field)!r}: it {rule}.")


@dataclass(frozen=True)
class Generation:
    """A program, the release it runs and the environment it runs with.

    Raises WebappsError for values that it cannot hold.
    """

    layout: Layout
    program: Program
    release: str
    environment: str
    conf_dir: Path = CONF_DIR

    def __post_init__(self) -> None:
        if not PLAIN_PATH.fullmatch(str(self.layout.root)):
            raise WebappsError(f"root is {str(self.layout.root)!r}: use an absolute path of letters, digits and ._-/.")
        if not RELEASE_ID.fullmatch(self.release):
            raise WebappsError(f"release is {self.release!r}: a release id has letters, digits and ._- only.")
        if not DIGEST.fullmatch(self.environment):
            raise WebappsError(
                f"environment_digest is {self.environment!r}: give the name of a file in {self.layout.environments}, "
                "8 hexadecimal digits."
            )

    @cached_property
    def id(self) -> str:
        """Release and a digest of all else that decides how the program runs, the form of the section included."""
        digest = hashlib.sha256(self._section("{generation}").encode()).hexdigest()[:8]
        return f"{self.release}-{digest}"

    @property
    def group(self) -> str:
        """The name of its program in supervisor."""
        return f"{self.program.name}-{self.id}"

    @property
    def conf(self) -> Path:
        return self.conf_dir / f"{self.layout.domain}-{self.group}.conf"

    @property
    def release_dir(self) -> Path:
        return self.layout.release(self.release)

    @property
    def environment_file(self) -> Path:
        return self.layout.environments / self.environment

    @property
    def socket(self) -> Path:
        return self.layout.socket(self.id)

    def render(self, *, proven: bool) -> str:
        """The supervisor file. ``proven``: whether this generation has shown on this host that it works."""
        return (
            "; Written by carpentries.webapps.publish, which replaces and removes it.\n"
            f"; release = {self.release}\n"
            f"; environment = {self.environment}\n"
            f"; proven = {'yes' if proven else 'no'}\n" + self._section(self.id)
        )

    def argv(self, command: list[str]) -> list[str]:
        """A command as it runs in this generation: from the release's directory, with the environment's variables."""
        return [LAUNCHER, str(self.environment_file), self._absolute(command[0]), *command[1:]]

    def _section(self, generation: str) -> str:
        program = self.program
        numbered = "_%(process_num)02d" if program.processes > 1 else ""
        values: dict[str, object] = {
            "command": f"{LAUNCHER} {self.environment_file} {self._absolute(self._command(generation))}",
            "directory": self.release_dir,
            "user": program.user,
            "umask": program.umask,
            "process_name": f"%(program_name)s{numbered}",
            "numprocs": program.processes,
            "autostart": "true",
            "autorestart": "true",
            "startsecs": program.start_seconds,
            "startretries": START_RETRIES,
            "stopsignal": program.stop_signal,
            "stopwaitsecs": program.stop_wait,
            # The master tells its children; a signal to all of them would cut requests and jobs.
            "stopasgroup": "false",
            "killasgroup": "false",
            "redirect_stderr": "true",
            "stdout_logfile": program.stdout_logfile,
            # logrotate's work: supervisor's own rotation loses lines when programs share a file.
            "stdout_logfile_maxbytes": 0,
            "stdout_logfile_backups": 0,
        }
        lines = "".join(f"{key}={value}\n" for key, value in values.items())
        return f"[program:{program.name}-{generation}]\n{lines}"

    def _command(self, generation: str) -> str:
        # The digest is taken over a section without an id, so the socket's name must not need one.
        socket = self.layout.run_dir / f"{generation}.sock"
        values = {
            "{socket}": str(socket),
            "{release_dir}": str(self.release_dir),
            "{generation}": generation,
            "{root}": str(self.layout.root),
            "{process}": "%(process_num)02d",
        }
        pattern = re.compile("|".join(map(re.escape, values)))
        escaped = self.program.command.strip().replace("%", "%%")
        return pattern.sub(lambda match: values[match.group()], escaped)

    def _absolute(self, command: str) -> str:
        return command if command.startswith("/") else f"{self.release_dir}/{command}"
