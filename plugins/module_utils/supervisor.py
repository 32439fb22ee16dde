# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of supervisord's XML-RPC interface that can add, start, stop and remove one program and nothing more.

There is no ``update`` and no ``reload`` here on purpose: the first restarts every program whose file changed, the
second every program there is.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

SOCKET = "/var/run/supervisor.sock"
# Seconds; every call used here returns at once, so a longer silence means that supervisord hangs.
CALL_TIMEOUT = 30.0

STOPPED, STARTING, RUNNING, BACKOFF = "STOPPED", "STARTING", "RUNNING", "BACKOFF"
STOPPING, EXITED, FATAL, UNKNOWN = "STOPPING", "EXITED", "FATAL", "UNKNOWN"
# supervisor's own grouping (states.py): it starts what is not in the first, and removes only what is in the second.
RUNNING_STATES = frozenset({STARTING, RUNNING, BACKOFF})
STOPPED_STATES = frozenset({STOPPED, EXITED, FATAL, UNKNOWN})

# supervisor's fault codes (xmlrpc.py).
SHUTDOWN_STATE, BAD_NAME, SPAWN_ERROR, ALREADY_STARTED, NOT_RUNNING = 6, 10, 50, 60, 70
SUCCESS, ALREADY_ADDED, STILL_RUNNING, CANT_REREAD = 80, 90, 91, 92


class SupervisorError(WebappsError):
    """supervisord refused a call, or did not answer."""


class SupervisorNotRunningError(SupervisorError):
    """Nothing answers on supervisord's socket."""


@dataclass(frozen=True)
class Process:
    """One process as supervisord sees it.

    ``state``: supervisor's word, for example RUNNING. ``pid``: 0 when there is none. ``start``, ``now``: seconds since
    the epoch; a start of 0 means that it was never started. ``error``: supervisor's reason for a failed start.
    """

    group: str
    name: str
    state: str
    pid: int = 0
    start: int = 0
    now: int = 0
    exit_status: int = 0
    error: str = ""
    logfile: str = ""

    @property
    def uptime(self) -> int:
        """Seconds since it started; 0 when it does not run."""
        return max(self.now - self.start, 0) if self.pid else 0

    def __str__(self) -> str:
        text = f"{self.name} {self.state}"
        if self.pid:
            text += f", pid {self.pid}"
        if self.error:
            text += f", {self.error}"
        elif self.state in {EXITED, STOPPED, FATAL} and self.start:
            text += f", exit status {self.exit_status}"
        return text


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CALL_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisor:
    """supervisord behind its socket. Every method raises SupervisorError when it cannot do what its name says."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def processes(self) -> list[Process]:
        """All processes of all groups."""
        return [
            Process(
                group=str(info["group"]),
                name=str(info["name"]),
                state=str(info["statename"]),
                pid=int(info["pid"]),
                start=int(info["start"]),
                now=int(info["now"]),
                exit_status=int(info["exitstatus"]),
                error=str(info["spawnerr"]),
                logfile=str(info["stdout_logfile"]),
            )
            for info in self._call("getAllProcessInfo")
        ]

    def reread(self) -> None:
        """Make supervisord parse its files again. That alone starts and stops nothing."""
        self._call("reloadConfig")

    def add(self, group: str) -> None:
        """Take a group from the files that were reread last into service; its processes start by themselves."""
        try:
            self._call("addProcessGroup", group)
        except _FaultError as fault:
            if fault.code == ALREADY_ADDED:
                return
            if fault.code == BAD_NAME:
                raise SupervisorError(
                    f"supervisord does not find the program {group} in its files: "
                    "/etc/supervisor/supervisord.conf must include conf.d/*.conf (role supervisor)"
                ) from fault
            raise

    def start(self, group: str) -> None:
        """Start what does not run of a group, without waiting for it."""
        for result in self._call("startProcessGroup", group, False):
            # A process that dies at once is for the proof to find, with its log at hand.
            if result["status"] not in {SUCCESS, SPAWN_ERROR, ALREADY_STARTED}:
                raise SupervisorError(f"supervisord cannot start {group}:{result['name']}: {result['description']}")

    def stop(self, group: str) -> None:
        """Send the stop signal to what runs of a group, without waiting for it. A group that is gone is stopped."""
        try:
            results = self._call("stopProcessGroup", group, False)
        except _FaultError as fault:
            if fault.code == BAD_NAME:
                return
            raise
        for result in results:
            if result["status"] not in {SUCCESS, NOT_RUNNING}:
                raise SupervisorError(f"supervisord cannot stop {group}:{result['name']}: {result['description']}")

    def remove(self, group: str) -> bool:
        """Forget a stopped group, also one that is gone already. False when a process of it is up after all."""
        try:
            self._call("removeProcessGroup", group)
        except _FaultError as fault:
            if fault.code == STILL_RUNNING:
                return False
            if fault.code != BAD_NAME:
                raise
        return True

    def log_tail(self, size: int) -> str:
        """The last ``size`` bytes of supervisord's own log, which alone knows how a process ended that died early."""
        return str(self._call("readLog", -size, 0))

    def _call(self, method: str, *arguments: object) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(self._path))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise _FaultError(method, arguments, fault) from fault
        except PermissionError as error:
            raise SupervisorError(f"{self._path} belongs to another user: run as root (become: true)") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise SupervisorNotRunningError(
                f"supervisord does not run: nobody answers on {self._path} ({error.strerror}). "
                "Start it with `systemctl start supervisor`; `journalctl -u supervisor` tells why it stopped"
            ) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise SupervisorError(
                f"supervisord did not answer {method} on {self._path} ({error!r}): "
                "look at /var/log/supervisor/supervisord.log"
            ) from error


class _FaultError(SupervisorError):
    """A call that supervisord answered with a fault; ``code`` says which."""

    def __init__(self, method: str, arguments: Sequence[object], fault: xmlrpc.client.Fault) -> None:
        called = f"{method}({', '.join(map(str, arguments))})"
        if fault.faultCode == SHUTDOWN_STATE:
            text = f"supervisord is shutting down and refused {called}: call again once it is up"
        elif fault.faultCode == CANT_REREAD:
            text = f"supervisord cannot read its files ({fault.faultString}): correct the file that it names"
        else:
            text = f"supervisord refused {called}: {fault.faultString}"
        super().__init__(text)
        self.code = fault.faultCode
