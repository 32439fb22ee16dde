"""A log of the API calls, so that a test can prove what a run asked of AWS, and that a check run wrote nothing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from sandbox.aws.journal import Journal

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_READING = re.compile(r"(Describe|Get|List|Head|Lookup|Search|Query|Scan|Select|Check|Test|Validate|BatchGet|Simulate)")
_CREDENTIAL_SCOPE = re.compile(r"Credential=[^/]*/[^/]*/(?P<region>[^/]*)/(?P<service>[^/]*)/aws4_request")


@dataclass(frozen=True)
class Call:
    """One API call: what was called, which parameters were given (their names, never their values), what it does."""

    service: str
    action: str
    parameters: tuple[str, ...]
    writes: bool
    dialect: str = field(default="form", compare=False)
    resource: str = field(default="*", compare=False)


Answer = tuple[int, str, bytes]
"""Status, content type and body of an answer."""


def describe(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Call:
    """Return which API call an HTTP request is. `headers` has lower-case names.

    AWS services speak three dialects: a form with `Action` (EC2, ELB, STS), JSON with the action in a header (ACM,
    SSM), and paths with methods (S3, Route 53). A dry run (EC2) writes nothing.
    """
    scope = _CREDENTIAL_SCOPE.search(headers.get("authorization", ""))
    service = scope["service"] if scope else "unsigned"
    form = dict(parse_qsl(query, keep_blank_values=True))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if "Action" in form:
        action = form["Action"]
        names = set(form) - {"Action", "Version"}
        writes = not reads(action) and form.get("DryRun") != "true"
        # What elasticloadbalancing's rights to targets are given for; of other actions nobody asks.
        resource = form.get("TargetGroupArn", "*") if writes else "*"
        return Call(service, action, tuple(sorted(names)), writes, resource=resource)
    if target := headers.get("x-amz-target"):
        action = target.rpartition(".")[2]
        return Call(service, action, _json_names(body), not reads(action), "json")
    return Call(service, f"{method} {path}", tuple(sorted(form)), method not in ("GET", "HEAD", "OPTIONS"), "path")


def reads(action: str) -> bool:
    """Return whether an action of this name only reads. A name that is not known to read counts as writing."""
    return _READING.match(action) is not None


def _json_names(body: bytes) -> tuple[str, ...]:
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        return ()
    return tuple(sorted(content)) if isinstance(content, dict) else ()


class CallLog:
    """WSGI middleware that writes one journal entry for every request to `application`.

    `trouble` may answer a call instead; that is logged like any answer.
    """

    def __init__(
        self, application: Application, journal: Journal, trouble: Callable[[Call], Answer | None] = lambda call: None
    ) -> None:
        self._application = application
        self._journal = journal
        self._trouble = trouble

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on, and log it once its status is known."""
        body = b""
        # A body sent in chunks (an S3 upload) has no length and is no form: it stays unread.
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            body = environ["wsgi.input"].read(length)
            environ["wsgi.input"] = io.BytesIO(body)
        headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        call = describe(
            environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", ""), headers, body
        )

        def log_and_start(status: str, *rest: Any) -> Any:
            self._journal.write(
                service=call.service,
                action=call.action,
                parameters=list(call.parameters),
                kind="write" if call.writes else "read",
                status=int(status.split(" ", 1)[0]),
            )
            return start_response(status, *rest)

        if instead := self._trouble(call):
            status, content_type, content = instead
            headers_out = [("Content-Type", content_type), ("Content-Length", str(len(content)))]
            log_and_start(f"{status} {HTTPStatus(status).phrase}", headers_out)
            return [content]
        return self._application(environ, log_and_start)
