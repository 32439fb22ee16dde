"""Send a request, once, and read the answer to its end."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from .record import Connection
from .visitor import Answer, Ask

# A balancer closes a connection that was idle for 60 s; users leave first.
IDLE_SECONDS = 50


class AskError(Exception):
    """There was no whole answer."""


@dataclass(frozen=True)
class Target:
    """The site as users name it, and the address at which it is reached."""

    url: str
    connect: str | None = None  # HOST:PORT instead of what the name resolves to

    @property
    def host(self) -> str:
        """Return the name for the Host header."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """Return the name for TLS: server name indication and certificate."""
        return urlsplit(self.url).hostname or ""

    @property
    def base(self) -> str:
        """Return the URL to connect to."""
        return f"{urlsplit(self.url).scheme}://{self.connect or self.host}"


def trust(ca: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a file, or those of the system."""
    return ssl.create_default_context(cafile=None if ca is None else str(ca))


class Client:
    """The connections of one user: kept alive in a pool of its own, or a new one for each request."""

    def __init__(self, target: Target, connection: Connection, context: ssl.SSLContext, timeout: float) -> None:
        """`timeout` (seconds) is for a whole request."""
        self._target = target
        self._timeout = timeout
        self._headers = {"Host": target.host, "User-Agent": "sandbox-load"}
        if connection == "new":
            self._headers["Connection"] = "close"
        self._transport = httpx.AsyncHTTPTransport(
            verify=context,
            http1=True,
            http2=False,
            retries=0,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=0 if connection == "new" else None,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )

    async def send(self, ask: Ask) -> Answer:
        """Return the answer; raises AskError."""
        request = httpx.Request(
            ask.method,
            self._target.base + ask.path,
            headers=self._headers | dict(ask.headers),
            content=ask.body or None,
            extensions={"sni_hostname": self._target.name},
        )
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._transport.handle_async_request(request)
                try:
                    body = b"".join([chunk async for chunk in response.aiter_raw()])
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise AskError(f"no whole answer within {self._timeout:g} s") from error
        except Exception as error:  # whatever it is, the user got no answer
            raise AskError(f"{type(error).__name__}: {error}") from error
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
