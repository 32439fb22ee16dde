"""The HAProxy process: started, replaced without losing a connection, stopped."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from sandbox.aws.haproxy_admin import AdminSocket, HAProxyError
from sandbox.aws.haproxy_config import Paths

START_TIMEOUT = 10.0
"""Seconds that a new process may take until it answers on the admin socket."""

_POLL = 0.02

_NO_STATES = "1"
"""A file of server states with nothing in it but the version of its format."""


class HAProxyProcess:
    """One HAProxy at a time, plus predecessors that finish the requests they still have."""

    def __init__(
        self,
        directory: Path,
        program: str = "haproxy",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.paths = Paths(admin_socket=directory / "admin.sock", server_states=directory / "servers.state")
        self.admin = AdminSocket(self.paths.admin_socket)
        self._configuration = directory / "haproxy.cfg"
        self._program = program
        self._clock = clock
        self._sleep = sleep
        self._current: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []

    def load(self, configuration: str) -> None:
        """Start HAProxy on `configuration`, or hand over to a new process that has it.

        The new process takes the listening sockets and the servers' states from the old one, which then accepts
        nothing more and leaves when its last request is done. Raises HAProxyError when the new one does not come up.
        """
        self._leaving = [process for process in self._leaving if process.poll() is None]
        states = self.admin.ask("show servers state") if self._current else _NO_STATES
        self.paths.server_states.write_text(states + "\n")
        self._configuration.write_text(configuration)
        command = [self._program, "-db", "-f", str(self._configuration)]
        if self._current:
            command += ["-x", str(self.paths.admin_socket), "-sf", str(self._current.pid)]
            self._leaving.append(self._current)
        self._current = subprocess.Popen(command)
        self._wait_for(self._current)

    def ensure_alive(self) -> None:
        """Raise HAProxyError if the process has ended by itself."""
        if self._current and self._current.poll() is not None:
            raise HAProxyError(f"HAProxy ended by itself with status {self._current.returncode}; see its output above")

    def stop(self) -> None:
        """End the process and its predecessors, with whatever requests they have."""
        processes = [*self._leaving, *([self._current] if self._current else [])]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait()
        self._current, self._leaving = None, []

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        deadline = self._clock() + START_TIMEOUT
        while process.poll() is None and self._clock() < deadline:
            if self._answers(process.pid):
                return
            self._sleep(_POLL)
        raise HAProxyError(
            f"HAProxy did not come up on {self._configuration} (status {process.poll()}); "
            "its message is above. Is a listener's port taken by another program?"
        )

    def _answers(self, pid: int) -> bool:
        try:
            return self.admin.process_id() == pid
        except HAProxyError:
            return False
