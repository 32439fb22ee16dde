"""A user: which request comes next, given what the answers said, and whether an answer is right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode, urlsplit

from .record import Connection, Kind

Step = Literal["home", "notes", "jobs", "write", "read back", "asset"]

# What a user does, again and again; every step is one request.
STORY: tuple[Step, ...] = ("home", "asset", "asset", "notes", "write", "read back", "asset", "jobs")
PAGES: Mapping[Step, str] = {"home": "/", "notes": "/notes/", "jobs": "/jobs/"}
EXPECTED: Mapping[Kind, frozenset[int]] = {
    "page": frozenset({200}),
    "static": frozenset({200}),
    "form": frozenset({302, 303}),
}

_ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_PAGE = re.compile(rb"We will be back soon.*<!-- shown by: \w+ -->\s*\Z", re.DOTALL)
_COOKIE = re.compile(r"\bcsrftoken=([^;,\s]+)")


@dataclass(frozen=True)
class Ask:
    """A request to send."""

    kind: Kind
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def release(self) -> str | None:
        """Return the release that made the answer."""
        return self.headers.get("x-release")


def is_maintenance(answer: Answer) -> bool:
    """Return whether an answer is the maintenance page with all that belongs to it: it says when to ask again, and
    nobody may keep it."""
    headers = answer.headers
    complete = bool(headers.get("retry-after")) and "no-store" in headers.get("cache-control", "")
    return answer.status == 503 and complete and "x-release" not in headers and _PAGE.search(answer.body) is not None


def judge(ask: Ask, answer: Answer) -> str | None:
    """Return what is wrong with an answer, or None.

    A static file comes from the web server, which knows no release; everything else must name one.
    """
    if answer.status not in EXPECTED[ask.kind]:
        return f"unexpected status {answer.status}"
    if ask.kind != "static" and not answer.release:
        return "no X-Release"
    if ask.kind == "page" and not _ASSET.search(answer.body.decode(errors="replace")):
        return "a page without static files"
    return None


class Visitor:
    """A user with a memory: cookie, form token, and the static files and addresses of the last answers."""

    def __init__(self, origin: str, connection: Connection, first_step: int = 0) -> None:
        """Make a user of the site `origin` (https://name) who begins the story at a step of its own."""
        self.connection = connection
        self._origin = origin
        self._step = first_step
        self._cookie: str | None = None
        self._token: str | None = None
        self._written: str | None = None
        self._assets: tuple[str, ...] = ()
        self._next_asset = 0

    def ask(self) -> Ask:
        """Return the next request; a step that lacks what earlier answers should have brought is a visit home."""
        step = STORY[self._step % len(STORY)]
        self._step += 1
        if step == "asset" and self._assets:
            self._next_asset += 1
            return Ask("static", self._assets[self._next_asset % len(self._assets)])
        if step == "write" and self._token and self._cookie:
            return self._write(self._token, self._cookie)
        if step == "read back" and self._written:
            return self._page(self._written)
        return self._page(PAGES.get(step, PAGES["home"]))

    def learn(self, ask: Ask, answer: Answer) -> None:
        """Remember what a right answer says."""
        if ask.kind == "page":
            page = answer.body.decode(errors="replace")
            self._assets = tuple(dict.fromkeys(_ASSET.findall(page)))
            token = _TOKEN.search(page)
            self._token = token.group(1) if token else self._token
            cookie = _COOKIE.search(answer.headers.get("set-cookie", ""))
            self._cookie = cookie.group(0) if cookie else self._cookie
        if ask.kind == "form":
            target = urlsplit(answer.headers.get("location", ""))
            self._written = target._replace(scheme="", netloc="").geturl() or None

    def _page(self, path: str) -> Ask:
        headers = {"Cookie": self._cookie} if self._cookie else {}
        return Ask("page", path, headers=headers)

    def _write(self, token: str, cookie: str) -> Ask:
        fields = {"csrfmiddlewaretoken": token, "text": f"Note of step {self._step}", "author": "load"}
        return Ask(
            "form",
            PAGES["notes"],
            method="POST",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": cookie,
                "Origin": self._origin,
                "Referer": self._origin + PAGES["notes"],
            },
            body=urlencode(fields).encode(),
        )
