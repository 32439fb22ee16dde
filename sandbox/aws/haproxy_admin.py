"""Talking to a running HAProxy: its admin socket, and what `show stat` says."""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.aws.health import Check, Order, Reason

ANSWER_TIMEOUT = 5.0
"""Seconds to wait for the admin socket."""


class HAProxyError(Exception):
    """HAProxy cannot be reached, or refused a command or a configuration."""


@dataclass(frozen=True)
class Stats:
    """One `show stat`: the backends that HAProxy has, and the check of every server by (backend, server)."""

    backends: frozenset[str]
    checks: dict[tuple[str, str], Check]


class AdminSocket:
    """HAProxy's admin socket at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """Return the answer to one command. HAProxy closes the connection after it, so each has its own."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_TIMEOUT)
                connection.connect(str(self.path))
                connection.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()
        except OSError as error:
            raise HAProxyError(f"HAProxy's admin socket {self.path} did not answer {command!r}: {error}") from error

    def stats(self) -> Stats:
        """Return what HAProxy knows about its backends and servers."""
        return parse_stats(self.ask("show stat"))

    def process_id(self) -> int:
        """Return the id of the process that answers on the socket."""
        return parse_process_id(self.ask("show info"))


def parse_process_id(info: str) -> int:
    """Return the process id in an answer to `show info`."""
    for line in info.splitlines():
        name, _colon, value = line.partition(": ")
        if name == "Pid":
            return int(value)
    raise HAProxyError(f"HAProxy's `show info` has no line `Pid:`; it begins with {info[:80]!r}")


def parse_stats(text: str) -> Stats:
    """Return the backends and checks in the CSV that `show stat` answers."""
    if not text.startswith("# pxname,svname,"):
        raise HAProxyError(f"HAProxy's `show stat` has no header of names; it begins with {text[:80]!r}")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("# "))))
    return Stats(
        backends=frozenset(row["pxname"] for row in rows if row["svname"] == "BACKEND"),
        checks={
            (row["pxname"], row["svname"]): _check(row) for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")
        },
    )


def _check(row: dict[str, str]) -> Check:
    up = row["status"].startswith("UP")
    # "* " marks a check that is under way; the rest is the result of the one before.
    result = row["check_status"].removeprefix("* ")
    if not result or result in ("UNK", "INI"):
        return Check(up=up)
    if result.endswith("OK"):
        # "DOWN 1/2": a check has passed, the healthy threshold is not met. Without the count the result is an old one.
        return Check(up=up, passing=up or "/" in row["status"])
    return Check(up=up, failure=_failure(result), detail=row["check_code"] if result == "L7STS" else "")


def _failure(result: str) -> Reason:
    if result == "L7STS":
        return Reason.RESPONSE_CODE_MISMATCH
    return Reason.TIMEOUT if result.endswith("TOUT") else Reason.FAILED_HEALTH_CHECKS


def add_server(backend: str, server: str, address: str, options: str) -> str:
    """Return the command that tells HAProxy of a server, out of rotation and unchecked."""
    return f"add server {backend}/{server} {address} {options}"


def commands(order: Order, backend: str, server: str) -> list[str]:
    """Return the admin commands that carry out an order on a server that HAProxy knows."""
    name = f"{backend}/{server}"
    return _COMMANDS[order](name)


_COMMANDS: dict[Order, Callable[[str], list[str]]] = {
    # Leaving maintenance marks a server UP at once. Through `drain` it gets no requests until it is marked down.
    Order.ADMIT: lambda name: [
        f"set server {name} state drain",
        f"enable health {name}",
        f"set server {name} health down",
        f"set server {name} state ready",
    ],
    Order.TRUST: lambda name: [f"set server {name} health up"],
    Order.DRAIN: lambda name: [f"set server {name} state drain"],
    Order.EJECT: lambda name: [f"set server {name} state maint", f"shutdown sessions server {name}"],
}
