# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a program on this host, over its unix socket or through the port in front of it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Bytes: more than any health answer, less than a file that somebody serves by mistake.
MAX_BODY = 64 * 1024
BODY_HEAD = 300


@dataclass(frozen=True)
class HttpProbe:
    """What to ask for and what counts as an answer.

    ``host``: the Host header, and the name that TLS is asked for. ``scheme``: what X-Forwarded-Proto says, as the
    balancer would. ``expect``: text that a header's value or the body must contain; "" accepts any 200.
    """

    path: str
    host: str
    scheme: str = "https"
    expect: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back. ``status`` is None when nothing did, and ``error`` says why."""

    url: str
    host: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""

    def satisfies(self, expect: str, status: int = 200) -> bool:
        return self.status == status and self.says(expect)

    def says(self, expect: str) -> bool:
        return expect in self.body or any(expect in value for value in self.headers.values())

    @property
    def body_head(self) -> str:
        return self.body[:BODY_HEAD]

    def __str__(self) -> str:
        what = f"status {self.status}" if self.status is not None else f"no answer ({self.error})"
        text = f"GET {self.url} with Host {self.host}: {what}"
        return f"{text}, body: {self.body_head!r}" if self.body else text


def over_unix_socket(path: Path, probe: HttpProbe, timeout: float) -> Answer:
    """Ask the program that listens on ``path``. ``timeout``: seconds for each read."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return connection

    return _ask(_Connected(probe.host, connect), f"http+unix:{path}:{probe.path}", probe)


def over_tcp(
    address: str, port: int, scheme: str, probe: HttpProbe, timeout: float, source: str | None = None
) -> Answer:
    """Ask whatever listens on ``address`` and ``port``. ``timeout``: seconds for each read. ``source``: ask from there.

    With ``scheme`` https the certificate is not verified: a name resolved nowhere is asked of this very host, and the
    question is which release answers.
    """

    def connect() -> socket.socket:
        connection = socket.create_connection((address, port), timeout, (source, 0) if source else None)
        if scheme != "https":
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection, server_hostname=probe.host)

    return _ask(_Connected(probe.host, connect), f"{scheme}://{address}:{port}{probe.path}", probe)


class _Connected(http.client.HTTPConnection):
    """HTTP over a connection that somebody else knows how to make."""

    def __init__(self, host: str, connector: Callable[[], socket.socket]) -> None:
        super().__init__(host)
        self._connector = connector

    def connect(self) -> None:
        self.sock = self._connector()


def _ask(connection: http.client.HTTPConnection, url: str, probe: HttpProbe) -> Answer:
    headers = {
        "Host": probe.host,
        "X-Forwarded-Proto": probe.scheme,
        "User-Agent": "carpentries.webapps.publish",
        "Connection": "close",
    }
    try:
        connection.request("GET", probe.path, headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_BODY).decode(errors="replace")
        return Answer(url, probe.host, response.status, dict(response.getheaders()), body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(url, probe.host, error=str(error) or repr(error))
    finally:
        connection.close()
