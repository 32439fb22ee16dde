"""The client reaches the address it is given, under the name users know, and never asks twice."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.load.client import AskError, Client, Target, trust
from sandbox.load.record import Connection
from sandbox.load.visitor import Ask

NAME = "amy.sandbox.test"
PAGE = Ask("page", "/")
OK = b"HTTP/1.1 200 OK\r\nX-Release: aaa\r\nContent-Length: 2\r\n\r\nhi"


class Server:
    """An HTTP server that gives one answer to everything, and remembers connections and request heads."""

    def __init__(self, answer: bytes = OK, close: bool = False) -> None:
        self._answer = answer
        self._close = close
        self.connections = 0
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(self._answer)
                await writer.drain()
                if self._close:
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


def with_server(
    server: Server,
    talk: Callable[[str], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> None:
    """Run the server, and `talk` with its address."""

    async def run() -> None:
        listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            await talk(f"127.0.0.1:{port}")

    asyncio.run(run())


def client(address: str, connection: Connection = "keep-alive", scheme: str = "http", timeout: float = 10) -> Client:
    """Return a client of the named site at an address."""
    return Client(Target(f"{scheme}://{NAME}", address), connection, trust(None), timeout)


@pytest.mark.parametrize(("connection", "expected"), [("keep-alive", 1), ("new", 3)])
def test_connections_are_kept_or_new_for_each_request(connection: Connection, expected: int) -> None:
    server = Server()

    async def talk(address: str) -> None:
        asking = client(address, connection)
        for _request in range(3):
            answer = await asking.send(PAGE)
            assert (answer.status, answer.release, answer.body) == (200, "aaa", b"hi")
        await asking.close()

    with_server(server, talk)
    assert server.connections == expected


def test_the_host_header_is_the_sites_name_wherever_it_is_reached() -> None:
    server = Server()

    async def talk(address: str) -> None:
        asking = client(address)
        await asking.send(PAGE)
        await asking.close()

    with_server(server, talk)
    assert server.heads[0].startswith("GET / HTTP/1.1\r\n")
    assert f"\r\nHost: {NAME}\r\n" in server.heads[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "RemoteProtocolError"),
        (b"not HTTP at all\r\n\r\n", "RemoteProtocolError"),
    ],
)
def test_half_an_answer_is_an_error_and_is_not_asked_for_again(answer: bytes, reason: str) -> None:
    server = Server(answer, close=True)

    async def talk(address: str) -> None:
        with pytest.raises(AskError, match=reason):
            await client(address).send(PAGE)

    with_server(server, talk)
    assert len(server.heads) == 1


def test_an_answer_that_does_not_come_is_an_error_after_the_timeout() -> None:
    async def talk(address: str) -> None:
        with pytest.raises(AskError, match=r"no whole answer within 0\.01 s"):
            await client(address, timeout=0.01).send(PAGE)

    with_server(Server(answer=b"HTTP/1.1 200 OK\r\n"), talk)


def test_a_port_where_nobody_listens_is_an_error() -> None:
    with pytest.raises(AskError, match="ConnectError"):
        asyncio.run(client("127.0.0.1:1").send(PAGE))


def self_signed(directory: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate for a name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def test_tls_asks_for_the_sites_name_and_checks_it(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, NAME)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def talk(address: str) -> None:
        trusting = trust(certificate)
        asking = Client(Target(f"https://{NAME}", address), "new", trusting, timeout=10)
        assert (await asking.send(PAGE)).status == 200
        stranger = Client(Target("https://other.sandbox.test", address), "new", trusting, timeout=10)
        with pytest.raises(AskError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.send(PAGE)
        distrustful = client(address, scheme="https")
        with pytest.raises(AskError, match="CERTIFICATE_VERIFY_FAILED"):
            await distrustful.send(PAGE)

    with_server(Server(), talk, context)
    assert names == [NAME, "other.sandbox.test", NAME]
