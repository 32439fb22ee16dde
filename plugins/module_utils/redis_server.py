# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a Redis that only keeps snapshots to an append-only file, without losing what it holds.

Started with ``appendonly yes`` and no such file, Redis begins empty and soon overwrites its snapshot. A running one
that is told so writes the file from what it holds.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import Client, RedisRefusalError

PAUSE = 0.5
CONNECT_TIMEOUT = 10.0


class Connection(Protocol):
    def command(self, *words: str) -> str:
        """The answer's text. Raises RedisRefusalError."""


class SocketConnection:
    """The Redis of this host."""

    def __init__(self, host: str, port: int) -> None:
        self._client = Client(socket.create_connection((host, port), CONNECT_TIMEOUT), f"{host}:{port}")

    def close(self) -> None:
        self._client.close()

    def command(self, *words: str) -> str:
        return self._client.text(*words)


def password_in(configuration: str) -> str:
    """The password that a configuration file sets with requirepass; empty when there is none."""
    match = re.search(r'^requirepass "(.*)"$', configuration, re.MULTILINE)
    return match[1] if match else ""


def log_in(connection: Connection, passwords: Sequence[str], user: str = "") -> bool:
    """Be allowed to ask: with no password, or one of those given, of ``user`` or of the default user. Whether it is."""
    attempts = [[], *([user, each] for each in passwords if user), *([each] for each in passwords)]
    for words in attempts:
        try:
            if words:
                connection.command("AUTH", *words)
            connection.command("PING")
        except RedisRefusalError:
            continue
        return True
    return False


def persistence(connection: Connection) -> dict[str, str]:
    """What Redis says about its files."""
    lines = connection.command("INFO", "persistence").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def keeps_append_only_file(connection: Connection) -> bool:
    return persistence(connection).get("aof_enabled") == "1"


def write_append_only_file(
    connection: Connection,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have Redis write its append-only file and wait for the end. ``timeout``: seconds. Raises WebappsError."""
    deadline = clock() + timeout
    connection.command("CONFIG", "SET", "appendonly", "yes")
    while True:
        seen = persistence(connection)
        busy = seen.get("aof_rewrite_in_progress") == "1" or seen.get("aof_rewrite_scheduled") == "1"
        if not busy and seen.get("aof_last_bgrewrite_status") == "ok":
            return
        if clock() >= deadline or not busy:
            raise WebappsError(
                f"Redis has not written its append-only file within {timeout:g} s: it says "
                f"aof_rewrite_in_progress {seen.get('aof_rewrite_in_progress')}, "
                f"aof_last_bgrewrite_status {seen.get('aof_last_bgrewrite_status')}. "
                "See /var/log/redis/redis-server.log and the disk's free space, or raise redis_append_only_timeout"
            )
        sleep(PAUSE)


def assert_nothing_to_lose(directory: Path) -> None:
    """Refuse to go on where a stopped Redis has its data in a snapshot alone. Raises WebappsError."""
    snapshot = directory / "dump.rdb"
    if snapshot.exists() and not any(directory.glob("append*")):
        raise WebappsError(
            f"Redis does not run and has its data in {snapshot} only; started with an append-only file it would begin "
            "empty. Start it as it is (systemctl start redis-server) and run this again"
        )


def assert_append_only_file_exists(directory: Path) -> None:
    """Go on where a Redis that lets nobody in keeps an append-only file all the same. Raises WebappsError."""
    if not any(directory.glob("append*")):
        raise WebappsError(
            f"The running Redis lets in neither redis_user nor the default user, and {directory} has no append-only "
            "file. Set redis_password to the password it has now; change it afterwards, with the present one in "
            "redis_former_passwords"
        )
