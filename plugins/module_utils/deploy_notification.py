# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications of a deploy: what is said, to whom, and what keeps one from being made.

Addresses, tokens and signing secrets are secrets: no message of this file contains one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

WEBHOOK, SLACK, GITHUB = TYPES = ("webhook", "slack", "github")
START, SUCCESS, FAILURE, ROLLBACK = EVENTS = ("start", "success", "failure", "rollback")
GITHUB_API = "https://api.github.com"
SIGNATURE = "X-Webapps-Signature-256"
TASK = "deploy"
MAX_CAUSE, MAX_ANSWER = 1000, 200
# GitHub refuses longer descriptions.
MAX_DESCRIPTION = 140
SHORTEST_SECRET = 4
NEEDED = {WEBHOOK: ("url",), SLACK: ("url",), GITHUB: ("token", "repository")}
SECRETS = ("url", "secret", "token")
UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")


class HttpError(Exception):
    """A server did not take a request; the text says why and has no address in it."""


@dataclass(frozen=True)
class About:
    """What is told of a deploy. ``reason``: deploy or rollback. ``returned_to``: the version that serves again."""

    application: str = ""
    stage: str = ""
    domain: str = ""
    reason: str = "deploy"
    version: str = ""
    release: str = ""
    commit: str = ""
    run: str = ""
    who: str = ""
    cause: str = ""
    returned_to: str = ""


@dataclass(frozen=True)
class Target:
    """Who is told."""

    type: str
    events: tuple[str, ...] = EVENTS
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    repository: str = ""
    environment: str = ""
    api_url: str = GITHUB_API

    @property
    def label(self) -> str:
        """Who that is, for people."""
        return f"{self.type} {self.repository or urlsplit(self.url).hostname or ''}".strip()


# Method, address, headers, body; the document that was answered, or None. Raises HttpError.
Send = Callable[[str, str, Mapping[str, str], bytes | None], Any]


@dataclass(frozen=True)
class Told:
    """What became of one notification; ``problem`` is empty where it arrived."""

    label: str
    problem: str = ""


def problems(targets: object) -> list[str]:
    """What keeps these from being notified, a sentence each."""
    if not isinstance(targets, Sequence) or isinstance(targets, str):
        return ["deploy_notifications must be a list of dictionaries, such as [{type: slack, url: https://…}]."]
    return [problem for number, one in enumerate(targets, 1) for problem in _problems_of(number, one)]


def _problems_of(number: int, one: object) -> Iterator[str]:
    where = f"deploy_notifications, entry {number}"
    if not isinstance(one, Mapping):
        yield f"{where}, is no dictionary: write one, with type and what the type needs."
        return
    kind = one.get("type")
    if kind not in TYPES:
        yield f'{where}, has the type "{kind}": choose one of {", ".join(TYPES)}.'
        return
    where = f"{where} ({kind}),"
    given = {name: _text(one.get(name)) for name in (*SECRETS, "repository", "api_url")}
    for name in NEEDED[kind]:
        if not given[name]:
            yield f"{where} has no {name}, or an empty one: set it; {', '.join(SECRETS)} belong to the secrets."
    for name, text in given.items():
        if name != "secret" and UNPRINTABLE.search(text):
            yield f"{where} has a space, a line's end or another such character in {name}: remove it."
    for name in ("url", "api_url"):
        if given[name] and not _is_address(given[name]):
            yield f"{where} has a {name} that is no address: give one with https:// or http:// and a host."
    if kind == GITHUB and given["repository"] and not re.fullmatch(r"[\w.-]+/[\w.-]+", given["repository"]):
        yield f'{where} has the repository "{given["repository"]}": give owner and name, such as carpentries/amy.'
    unknown = [str(event) for event in one.get("events") or [] if event not in EVENTS]
    if unknown:
        yield f"{where} asks for the events {', '.join(unknown)}: there are {', '.join(EVENTS)}."
    events = set(one.get("events") or EVENTS)
    if kind == GITHUB and START in events and (ends := [name for name in EVENTS if name not in events]):
        yield f"{where} begins deployments and does not end all: add {', '.join(ends)} to events, or leave {START} out."


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def target_of(given: Mapping[str, Any]) -> Target:
    """A target as an inventory describes it."""
    texts = {name: _text(given.get(name)) for name in ("type", *SECRETS, "repository", "environment")}
    events = given.get("events")
    return Target(
        **texts,
        events=EVENTS if events is None else tuple(events),
        api_url=(_text(given.get("api_url")) or GITHUB_API).rstrip("/"),
    )


def about_of(given: Mapping[str, Any]) -> About:
    """What a playbook says of the deploy; more than is known here is left out."""
    known = {name: _text(given[name]) for name in About.__dataclass_fields__ if name in given}
    return About(**{**known, "cause": known.get("cause", "").strip()[:MAX_CAUSE]})


def sentence(event: str, about: About) -> str:
    """What people read."""
    name = about.application or about.domain or "The application"
    where = f"{name} ({about.stage})" if about.stage else name
    who = about.who or "Somebody"
    what = f"the {about.reason} of {about.version}" if about.reason == "deploy" else f"going back to {about.version}"
    if event == START:
        doing = "deploys" if about.reason == "deploy" else "goes back to"
        return f"{where}: {who} {doing} {about.version}."
    if event == SUCCESS or (event == ROLLBACK and about.reason != "deploy"):
        return f"{where} runs {about.version} now ({about.release})."
    cause = about.cause or "The cause is in the output of the run."
    back = f"The fleet went back to {about.returned_to}. " if event == ROLLBACK else ""
    return f"{where}: {what} failed. {back}{cause}"


def document(event: str, about: About, at: str) -> dict[str, str]:
    """What a webhook gets."""
    return {"event": event, "at": at, "text": sentence(event, about), **_fields(about)}


def _fields(about: About) -> dict[str, str]:
    return {name: getattr(about, name) for name in About.__dataclass_fields__}


def signature(secret: str, body: bytes) -> str:
    """The value of the header that proves who has written the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def _tell_webhook(target: Target, event: str, about: About, at: str, send: Send) -> None:
    body = _json(document(event, about, at))
    headers = {"Content-Type": "application/json"}
    if target.secret:
        headers[SIGNATURE] = signature(target.secret, body)
    send("POST", target.url, headers, body)


def _tell_slack(target: Target, event: str, about: About, at: str, send: Send) -> None:
    text = sentence(event, about).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    send("POST", target.url, {"Content-Type": "application/json"}, _json({"text": text}))


STATES = {START: "in_progress", SUCCESS: "success", FAILURE: "failure", ROLLBACK: "failure"}


def _tell_github(target: Target, event: str, about: About, at: str, send: Send) -> None:
    base = f"{target.api_url}/repos/{target.repository}/deployments"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {target.token}",
        "Content-Type": "application/json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    environment = target.environment or about.stage or "production"
    asked = urlencode({"environment": environment, "task": TASK, "per_page": 100})
    # Asked rather than remembered: the run's deployment is the one that names the run.
    listed = send("GET", f"{base}?{asked}", headers, None)
    number = _deployment_of(about.run, listed)
    if number is None:
        wanted = {
            "ref": about.commit or about.version,
            "task": TASK,
            "environment": environment,
            "description": _short(f"{about.reason} of {about.version}, {about.who}"),
            "auto_merge": False,
            # What is deployed was decided already; GitHub only keeps the record.
            "required_contexts": [],
            "payload": {"run": about.run, "release": about.release},
        }
        number = _number(send("POST", base, headers, _json(wanted)))
    went_back = event == ROLLBACK and about.reason != "deploy"
    status = {"state": SUCCESS if went_back else STATES[event], "description": _short(sentence(event, about))}
    if about.domain:
        status["environment_url"] = f"https://{about.domain}/"
    send("POST", f"{base}/{quote(str(number))}/statuses", headers, _json(status))


def _deployment_of(run: str, listed: object) -> object | None:
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, Mapping):
            continue
        payload = one.get("payload")
        try:
            payload = json.loads(payload) if isinstance(payload, str) and payload else payload
        except ValueError:
            continue
        if run and isinstance(payload, Mapping) and payload.get("run") == run:
            return _number(one)
    return None


def _number(answer: object) -> object:
    number = answer.get("id") if isinstance(answer, Mapping) else None
    if not isinstance(number, int):
        raise HttpError("it answered without the number of a deployment")
    return number


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_DESCRIPTION else line[: MAX_DESCRIPTION - 1] + "…"


TELL = {WEBHOOK: _tell_webhook, SLACK: _tell_slack, GITHUB: _tell_github}


def tell(
    targets: Sequence[Target], event: str, about: About, at: str, send: Send, timeout: float, *, check: bool = False
) -> list[Told]:
    """Notify everybody who wants to know of the event, or in check mode nobody. Never raises for what a server does."""
    wanting = [target for target in targets if event in target.events]
    if check:
        return [Told(target.label) for target in wanting]
    hidden = _secrets_of(targets)

    def saying(to: Target) -> Callable[[], None]:
        return lambda: TELL[to.type](to, event, about, at, send)

    return [_told(target.label, saying(target), hidden, timeout) for target in wanting]


def _told(label: str, say: Callable[[], None], hidden: Sequence[str], timeout: float) -> Told:
    found: list[str] = []

    def work() -> None:
        try:
            say()
            found.append("")
        except HttpError as error:
            found.append(_without(str(error), hidden))
        # Its text may have an address in it.
        except Exception as error:
            found.append(type(error).__name__)

    # A resolver that hangs and a server that drips know no timeout of a socket.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    return Told(label, found[0] if found else f"no answer in {timeout:g} s")


def _secrets_of(targets: Sequence[Target]) -> list[str]:
    """What no message may have in it, the longest first. Of an address the path is the secret."""
    known = {text for to in targets for text in (to.url, to.secret, to.token, urlsplit(to.url).path.strip("/"))}
    return sorted((text for text in known if len(text) >= SHORTEST_SECRET), key=len, reverse=True)


def _without(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text


def refused(targets: object) -> None:
    """Raises WebappsError for notifications that cannot be made."""
    if found := problems(targets):
        raise WebappsError(" ".join(found))
