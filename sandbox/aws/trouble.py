"""AWS as it is on a bad day: answers that a test orders in a file, for some calls or until the order is gone.

The file is asked at every call, so no call comes between an order and its effect.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from sandbox.aws.calls import Answer, Call

USER = "arn:aws:iam::123456789012:user/sandbox"


@dataclass(frozen=True)
class Failure:
    """An error as AWS answers it: the code of the older dialects, that of JSON, status, message."""

    status: int
    message: str
    in_json: str


FAILURES = {
    "Throttling": Failure(400, "Rate exceeded", "ThrottlingException"),
    "RequestLimitExceeded": Failure(503, "Request limit exceeded.", "RequestLimitExceeded"),
    "ServiceUnavailable": Failure(503, "Service is unable to handle request.", "ServiceUnavailableException"),
    "InternalFailure": Failure(500, "An internal error has occurred.", "InternalFailure"),
    "AccessDenied": Failure(
        403,
        "User: {user} is not authorized to perform: {right} on resource: {resource} because no identity-based policy "
        "allows the {right} action",
        "AccessDeniedException",
    ),
}

# What these are called by EC2 alone.
OF_EC2 = {
    "Throttling": "RequestLimitExceeded",
    "InternalFailure": "InternalError",
    "AccessDenied": "UnauthorizedOperation",
}

# Where the name that a request is signed with is not the one that rights have.
IN_RIGHTS = {"monitoring": "cloudwatch"}


@dataclass(frozen=True)
class Order:
    """What is wrong with an action, such as `DeregisterTargets`.

    `code`: one of FAILURES, or nothing where it is only slow; `delay`: seconds before the answer, whatever it is;
    `after`: how many calls go well before; `calls`: how many have it then, or none for all of them. Calls are counted
    by `id`.
    """

    id: str
    action: str
    code: str | None = None
    delay: float = 0.0
    calls: int | None = None
    after: int = 0

    def __post_init__(self) -> None:
        if self.code is not None and self.code not in FAILURES:
            raise ValueError(f'code is "{self.code}"; known are {", ".join(FAILURES)}')

    @property
    def last(self) -> int | None:
        return None if self.calls is None else self.after + self.calls


class Trouble:
    """The orders of a file, a JSON list; no file is no order."""

    def __init__(self, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._sleep = sleep
        self._lock = threading.Lock()
        self._spent: Counter[str] = Counter()

    def __call__(self, call: Call) -> Answer | None:
        """Make the call wait as ordered, and return what it is answered instead, if anything."""
        try:
            order = self._next(call.action)
        except (ValueError, TypeError) as error:
            # A test whose order is not understood must not go on as if there were none.
            return 400, "text/plain", f"{self._path}: {error}".encode()
        if order is None:
            return None
        if order.delay:
            self._sleep(order.delay)
        return None if order.code is None else answered(order.code, call)

    def _next(self, action: str) -> Order | None:
        with self._lock:
            for order in self._orders():
                if order.action != action or self._spent[order.id] == order.last:
                    continue
                self._spent[order.id] += 1
                if self._spent[order.id] > order.after:
                    return order
        return None

    def _orders(self) -> list[Order]:
        try:
            return [Order(**order) for order in json.loads(self._path.read_text())]
        except FileNotFoundError:
            return []


def answered(code: str, call: Call) -> Answer:
    """The answer with an error, in the dialect that the call was in."""
    failure = FAILURES[code]
    right = f"{IN_RIGHTS.get(call.service, call.service)}:{call.action}"
    message = failure.message.format(user=USER, right=right, resource=call.resource)
    if call.dialect == "json":
        body = json.dumps({"__type": failure.in_json, "message": message})
        return failure.status, "application/x-amz-json-1.1", body.encode()
    if call.service == "ec2":
        code = OF_EC2.get(code, code)
        status = 503 if code == "RequestLimitExceeded" else failure.status
        return status, "text/xml", _xml("Response", "Errors", code, message)
    return failure.status, "text/xml", _xml("ErrorResponse", "", code, message)


def _xml(root: str, around: str, code: str, message: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    inner = f"<{around}>{error}</{around}>" if around else error
    return f"<{root}>{inner}<RequestId>ordered</RequestId></{root}>".encode()
