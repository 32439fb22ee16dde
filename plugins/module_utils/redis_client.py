# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis over a socket, without a library: with TLS and users, by a URL that never shows in a message."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

TIMEOUT = 10.0
# Seconds for one answer: a large list takes a while, a server that hangs must not take for ever.
ANSWER_TIMEOUT = 60.0

Word = str | bytes | int | float
# bytes, a number, None, a list of these, or a refusal among others' answers: whoever asked knows.
Answer = Any


class RedisRefusalError(Exception):
    """Redis answered a command with an error."""


@dataclass(frozen=True)
class Address:
    """A URL taken apart. Its text names no password."""

    host: str
    port: int
    database: int
    user: str
    password: str
    tls: bool

    def __str__(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.database}"

    def __repr__(self) -> str:
        return f"Address({self})"


def parse_url(url: str, database: int | None = None) -> Address:
    """``database``: instead of the URL's own. Raises WebappsError without the URL, which holds a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        path = parts.path.strip("/")
        number = database if database is not None else int(path or 0)
    except ValueError as error:
        raise _refused("its port or database is no number") from error
    if parts.scheme not in {"redis", "rediss"}:
        raise _refused(f"it begins with {parts.scheme!r}" if parts.scheme else "it has no scheme")
    if not parts.hostname:
        raise _refused("it names no host")
    return Address(
        host=parts.hostname,
        port=port,
        database=number,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme == "rediss",
    )


def _refused(why: str) -> WebappsError:
    return WebappsError(
        f"Redis's URL cannot be read: {why}. Wanted is redis://USER:PASSWORD@HOST:6379/ or, with TLS, rediss://...; "
        "characters other than letters and digits in the password are written as %XX"
    )


class Client:
    """One connection. Methods raise RedisRefusalError when Redis says no, WebappsError when it does not answer."""

    def __init__(self, stream: socket.socket, name: str) -> None:
        self._socket = stream
        self._file: BinaryIO = stream.makefile("rb")
        self._name = name

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def command(self, *words: Word) -> Answer:
        """One command and its answer."""
        (answer,) = self.pipeline([words])
        if isinstance(answer, RedisRefusalError):
            raise answer
        return answer

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Answer]:
        """Several commands at once; a refusal is an answer among the others."""
        try:
            self._socket.sendall(b"".join(_encoded(words) for words in commands))
            return [self._read() for _ in commands]
        except OSError as error:
            raise WebappsError(f"Redis at {self._name} stopped answering: {error}") from error

    def text(self, *words: Word) -> str:
        """A command whose answer is a string."""
        answer = self.command(*words)
        return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("it closed the connection")
        return line[:-2]

    def _read(self) -> Answer:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RedisRefusalError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        raise ConnectionResetError(f"it does not speak Redis's protocol ({line[:20]!r})")

    def _exactly(self, size: int) -> bytes:
        value = self._file.read(size + 2)
        if len(value) < size + 2:
            raise ConnectionResetError("it closed the connection")
        return value[:-2]


def _encoded(words: Sequence[Word]) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def connect(address: Address, ca_file: str = "") -> Client:
    """A connection that is logged in and in the URL's database. ``ca_file``: instead of the system's authorities.

    Raises WebappsError that says which of these steps failed, and what to look at.
    """
    try:
        stream = socket.create_connection((address.host, address.port), TIMEOUT)
    except socket.gaierror as error:
        raise WebappsError(
            f"The name {address.host} of {address} is unknown on this host ({error}): correct the URL or the host's DNS"
        ) from error
    except OSError as error:
        raise WebappsError(
            f"Redis at {address} is not reached from this host: {error}. Does it run, does it listen there, and do the "
            "security groups let this host in?"
        ) from error
    if address.tls:
        stream = _encrypted(stream, address, ca_file)
    stream.settimeout(ANSWER_TIMEOUT)
    client = Client(stream, str(address))
    try:
        _log_in(client, address)
    except BaseException:
        client.close()
        raise
    return client


def _encrypted(stream: socket.socket, address: Address, ca_file: str) -> socket.socket:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        return context.wrap_socket(stream, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        stream.close()
        raise WebappsError(
            f"The certificate of {address} is not trusted: {error.verify_message}. Give the authority that signed it "
            "(ca_file), and the host's name as the certificate has it"
        ) from error
    except OSError as error:
        stream.close()
        raise WebappsError(
            f"TLS with {address} failed: {error}. Does that port speak TLS? Without TLS the URL begins with redis://. "
            f"The authorities are those of {ca_file or 'the system'}"
        ) from error


def _log_in(client: Client, address: Address) -> None:
    try:
        if address.password:
            client.command("AUTH", *([address.user] if address.user else []), address.password)
        client.command("PING")
    except RedisRefusalError as error:
        who = f"user {address.user}" if address.user else "the default user"
        raise WebappsError(
            f"Redis at {address} does not let {who} in: {error}. Correct user and password of the URL"
        ) from error
    except WebappsError as error:
        hint = "" if address.tls else ". A server that wants TLS does that: its URL begins with rediss://"
        raise WebappsError(f"{error.message}{hint}") from error
    try:
        if address.database:
            client.command("SELECT", address.database)
    except RedisRefusalError as error:
        raise WebappsError(f"Redis at {address} has no database {address.database}: {error}") from error


def information(client: Client) -> dict[str, str]:
    """What INFO says, of all sections."""
    lines = client.text("INFO").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
