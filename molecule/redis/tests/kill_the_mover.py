"""Kill the process that is connected to a Redis, as soon as the database there holds so many keys.

Runs on the mover's machine: a look from outside takes longer than the rest of the move. Called with the address, the
authority's file, the database and the number of keys; the user's password comes on standard input.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys


def connected() -> set[int]:
    """The processes on this machine, but this one, that are connected to a Redis."""
    command = ["ss", "--no-header", "--tcp", "--processes", "--numeric", "dport = :6379"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {int(pid) for pid in re.findall(r"pid=(\d+)", shown)} - {os.getpid()}


def main(address: str, authority: str, database: str, keys: str) -> None:
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    with socket.create_connection((address, 6379)) as plain, context.wrap_socket(plain) as redis:
        answers = redis.makefile("rb")

        def ask(*words: str) -> bytes:
            redis.sendall(b" ".join(word.encode() for word in words) + b"\r\n")
            return answers.readline().strip()

        for answer in (ask("AUTH", "webapps", sys.stdin.readline().strip()), ask("SELECT", database)):
            if answer != b"+OK":
                raise SystemExit(f"Redis answered {answer!r}")
        # Whoever started this reads it, so that the move begins only once it is watched.
        print("watching", flush=True)
        while True:
            movers = connected()
            if movers and int(ask("DBSIZE")[1:]) >= int(keys):
                break
    for pid in movers:
        os.kill(pid, signal.SIGKILL)
    print("killed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
