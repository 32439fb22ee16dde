# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a running nginx has loaded the configuration that is on disk, and how to have it loaded.

nginx does not tell what it has loaded. But it reads its files when workers are started, so a file that changed after
the oldest worker came to life has not been loaded.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

MASTER_TITLE = "nginx: master process"
# A worker on its way out has " is shutting down" behind it.
WORKER_TITLE = "nginx: worker process"
DEFAULT_PID_FILE = Path("/run/nginx.pid")
# Directives whose first argument is a file that nginx reads once, when it loads its configuration.
FILE_DIRECTIVES = frozenset(
    {
        "ssl_certificate",
        "ssl_certificate_key",
        "ssl_trusted_certificate",
        "ssl_client_certificate",
        "ssl_crl",
        "ssl_dhparam",
        "ssl_password_file",
        "ssl_session_ticket_key",
        "load_module",
    }
)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it; ``started`` counts seconds since the machine booted."""

    pid: int
    parent: int
    title: str
    started: float


class Host(Protocol):
    """What the logic needs of a machine; tests bring their own."""

    def dump(self) -> str:
        """The configuration on disk as ``nginx -T`` prints it. Raises WebappsError when nginx refuses it."""

    def processes(self) -> Sequence[Process]: ...

    def read(self, path: Path, offset: int = 0) -> str:
        """A file's text from a byte on; empty when it cannot be read."""

    def size(self, path: Path) -> int:
        """A file's size in bytes; 0 when there is none."""

    def age(self, path: Path) -> float | None:
        """Seconds since the file, or the link that stands for it, last changed; None when there is none."""

    def uptime(self) -> float:
        """Seconds since the machine booted: never set back or forth, as the wall clock is."""

    def hang_up(self, pid: int) -> None: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Configuration:
    """What ``nginx -T`` printed: the files it read, and its directives, each with its depth in braces."""

    files: tuple[Path, ...]
    directives: tuple[tuple[int, tuple[str, ...]], ...]

    def _path(self, value: str) -> Path:
        """nginx reads relative names from the directory of its main file."""
        return (self.files[0].parent if self.files else Path("/etc/nginx")) / value

    def _first(self, name: str) -> Path | None:
        """The first use of a directive outside all braces."""
        for depth, words in self.directives:
            if depth == 0 and words[0] == name and len(words) > 1:
                return self._path(words[1])
        return None

    @property
    def pid_file(self) -> Path:
        return self._first("pid") or DEFAULT_PID_FILE

    @property
    def error_log(self) -> Path | None:
        """The log of the master process, None when there is none in a file."""
        path = self._first("error_log")
        return path if path and path.is_absolute() and path.name != "stderr" else None

    @property
    def watched(self) -> tuple[Path, ...]:
        """Every file and directory whose change asks for a reload.

        A directory is there because of what a pattern no longer finds in it: a removed file leaves no other trace.
        """
        paths = list(self.files)
        for _depth, words in self.directives:
            if len(words) < 2:
                continue
            if words[0] == "include" and re.search(r"[*?\[]", words[1]):
                paths.append(self._path(words[1]).parent)
            elif words[0] in FILE_DIRECTIVES and not re.match(r"data:|engine:|store:|.*\$", words[1]):
                paths.append(self._path(words[1]))
        return tuple(dict.fromkeys(paths))


def statements(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The directives in nginx's configuration language, each with its depth in braces."""
    token = re.compile(
        r"""\s+ | \#[^\n]*                                 # nothing
        | (?P<end>[;{}])
        | "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)'
        | (?P<bare>(?:\\.|\$\{|[^\s;{}\\])(?:\\.|\$\{[^}\s]*\}|[^\s;{}\\])*)
        """,
        re.VERBOSE | re.DOTALL,
    )
    depth, words = 0, list[str]()
    for match in token.finditer(text):
        end = match["end"]
        if end == "}":
            depth -= 1
        elif end and words:
            yield depth, tuple(words)
        elif not end:
            words += [word for word in (match["double"], match["single"], match["bare"]) if word is not None]
        if end:
            words = []
        if end == "{":
            depth += 1


def parse_dump(text: str) -> Configuration:
    """Read what ``nginx -T`` printed."""
    files = re.findall(r"^# configuration file (.+):$", text, re.MULTILINE)
    return Configuration(tuple(Path(name) for name in files), tuple(statements(text)))


def workers(processes: Sequence[Process], master: int) -> list[Process]:
    """The master's workers that still take connections."""
    return [process for process in processes if process.parent == master and process.title == WORKER_TITLE]


@dataclass(frozen=True)
class Observation:
    """What a look at the host found: ``master`` is None when nginx does not run."""

    configuration: Configuration
    master: int | None = None
    workers: tuple[int, ...] = ()
    not_loaded: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.master is not None


def observe(host: Host) -> Observation:
    """Find the running nginx and what it has not loaded. Raises WebappsError when nginx refuses what is on disk."""
    configuration = parse_dump(host.dump())
    pid_file = host.read(configuration.pid_file).strip()
    processes = host.processes()
    masters = {process.pid for process in processes if process.title.startswith(MASTER_TITLE)}
    if not pid_file.isdecimal() or int(pid_file) not in masters:
        return Observation(configuration)
    master = int(pid_file)
    active = workers(processes, master)
    # Between two generations of workers nothing is known to be loaded.
    loaded_for = host.uptime() - min((worker.started for worker in active), default=host.uptime())
    ages = {path: host.age(path) for path in configuration.watched}
    return Observation(
        configuration,
        master,
        tuple(worker.pid for worker in active),
        tuple(str(path) for path, age in ages.items() if age is not None and age < loaded_for),
    )


def reload(host: Host, seen: Observation, timeout: float) -> tuple[int, ...]:
    """Have nginx load its configuration; return the new workers once no old one takes connections.

    ``timeout``: seconds. Raises WebappsError with nginx's own words when the new workers do not come.
    """
    if seen.master is None:
        raise WebappsError(
            "nginx does not run, so it cannot be reloaded: see `systemctl status nginx`, "
            "then run the role nginx, which starts it"
        )
    log = seen.configuration.error_log
    log_size = host.size(log) if log else 0
    deadline = host.uptime() + timeout
    host.hang_up(seen.master)
    pause = FIRST_PAUSE
    while True:
        active = {process.pid for process in workers(host.processes(), seen.master)}
        if active and not active & set(seen.workers):
            return tuple(sorted(active))
        if host.uptime() >= deadline:
            said = host.read(log, log_size).strip() if log else ""
            raise WebappsError(
                f"nginx (process {seen.master}) still runs with its old configuration "
                f"{timeout:g} s after the signal to reload: workers {sorted(active)} take "
                f"connections, before it was {sorted(seen.workers)}. "
                f"Its log says: {said or 'nothing'}. Remove the cause, or give it longer by nginx_reload_timeout",
                error_log=said,
            )
        host.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


@dataclass
class LinuxHost:
    """The machine this runs on. ``binary``: nginx's path."""

    binary: str
    proc: Path = field(default=Path("/proc"))

    def dump(self) -> str:
        result = subprocess.run([self.binary, "-T"], capture_output=True, text=True, errors="replace", check=False)
        if result.returncode:
            said = result.stderr.strip()
            raise WebappsError(
                f"nginx refuses the configuration on disk and keeps the one it runs with: {said}. "
                "Correct the file it names, or run the role nginx again",
                nginx_test=said,
            )
        return result.stdout

    def processes(self) -> list[Process]:
        ticks = os.sysconf("SC_CLK_TCK")
        found = []
        for directory in self.proc.glob("[0-9]*"):
            try:
                # The name in parentheses may hold anything; proc(5) numbers the fields behind it from 3.
                fields = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
                title = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                # It has ended meanwhile.
                continue
            found.append(Process(int(directory.name), int(fields[1]), title, int(fields[19]) / ticks))
        return found

    def read(self, path: Path, offset: int = 0) -> str:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def size(self, path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return 0

    def age(self, path: Path) -> float | None:
        try:
            changed = max(path.stat().st_ctime, path.lstat().st_ctime)
        except OSError:
            return None
        return time.time() - changed

    def uptime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def hang_up(self, pid: int) -> None:
        os.kill(pid, signal.SIGHUP)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
