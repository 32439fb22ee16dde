"""Visitors of a TLS site: some keep their connection, some make a new one for each request; each is counted."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

PAUSE = 0.1
# Below what nginx answers on one connection.
REQUESTS_OF_A_CONNECTION = 500


@dataclass
class Count:
    """What all visitors met."""

    requests: int = 0
    connections: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def connect(address: str, name: str, context: ssl.SSLContext) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(name)
    plain = socket.create_connection((address, 443), timeout=20)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    return connection


def visit(address: str, name: str, context: ssl.SSLContext, keep: int, count: Count, stop: threading.Event) -> None:
    connection, left = None, 0
    while not stop.is_set():
        try:
            if connection is None:
                connection, left = connect(address, name, context), keep
                with count.lock:
                    count.connections += 1
            connection.request("GET", "/static/host.txt")
            answer = connection.getresponse()
            answer.read()
            problem = "" if answer.status == 200 else f"status {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            problem, left = repr(error), 0
        with count.lock:
            count.requests += 1
            if problem:
                count.failures.append(f"{address}, {'kept' if keep > 1 else 'new'} connection: {problem}")
        left -= 1
        if left <= 0 and connection is not None:
            connection.close()
            connection = None
        stop.wait(PAUSE)


@contextmanager
def visitors(addresses: Sequence[str], name: str, context: ssl.SSLContext) -> Iterator[Count]:
    """Four visitors an address, as long as the block lasts and a second more."""
    count, stop = Count(), threading.Event()
    threads = [
        threading.Thread(target=visit, args=(address, name, context, keep, count, stop))
        for address in addresses
        for keep in (REQUESTS_OF_A_CONNECTION, REQUESTS_OF_A_CONNECTION, 1, 1)
    ]
    for thread in threads:
        thread.start()
    try:
        yield count
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
