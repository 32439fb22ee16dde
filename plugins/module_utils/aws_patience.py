# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to make of an AWS that fails: ask again for as long as the task has time, or name the right that is missing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, SSLError

# Codes of refusals that pass by themselves, beside every answer 500, 502, 503 and 504.
PASSING = {
    "EC2ThrottledException",
    "HealthUnavailable",
    "InternalError",
    "InternalFailure",
    "InternalServiceError",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ResourceContention",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "TransactionInProgressException",
    "Unavailable",
}
PASSING_STATUSES = {500, 502, 503, 504}

DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}

# Seconds that all calls of a task may lose altogether: a plan is soon made again, a host that is out has to come back.
FOR_PLANS, FOR_HOSTS, FOR_LOOKS = 60.0, 300.0, 20.0

# Seconds between two attempts, doubled each time, and cut by chance by up to a half.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 20.0


def one_attempt(connect: int = 10, read: int = 30) -> Config:
    """A client's settings under which botocore repeats nothing itself, so that Patience knows of every attempt."""
    return Config(connect_timeout=connect, read_timeout=read, retries={"mode": "standard", "total_max_attempts": 1})


class Patience:
    """A retry decorator for clients of AnsibleAWSModule: repeats what may pass, until ``seconds`` are lost altogether.

    What is repeated is safe to do twice. ``clock`` gives seconds that only grow, ``sleep`` waits for so many,
    ``chance`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.sleep = sleep
        self.chance = chance
        self.lost = 0.0

    def __call__(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def patient(*given: Any, **query: Any) -> Any:
            attempts, pause = 0, FIRST_PAUSE
            while True:
                began = self.clock()
                try:
                    return call(*given, **query)
                except (BotoCoreError, ClientError) as error:
                    if not passes(error):
                        raise
                    attempts += 1
                    self.lost += self.clock() - began
                    waiting = pause * (1 - self.chance() / 2)
                    if self.lost + waiting > self.seconds:
                        raise WebappsError(self._gave_up(error, attempts)) from error
                self.sleep(waiting)
                self.lost += waiting
                pause = min(2 * pause, LONGEST_PAUSE)

        return patient

    def _gave_up(self, error: Exception, attempts: int) -> str:
        return (
            f"{error}: the last of {attempts} attempts, and this task lost {self.lost:.0f} s to AWS, of "
            f"{self.seconds:.0f} s that it may. Find out who calls AWS so often, or see AWS's health; then run again."
        )


def passes(error: Exception) -> bool:
    """Whether the same call may succeed later: throttled, failed on AWS's side, not answered in time, not reached."""
    if isinstance(error, ClientError):
        return (
            code_of(error) in PASSING
            or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in PASSING_STATUSES
        )
    return isinstance(error, (ConnectionError, HTTPClientError)) and not isinstance(error, SSLError)


def is_denied(error: ClientError) -> bool:
    return code_of(error) in DENIED


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def message_of(error: ClientError) -> str:
    return str(error.response["Error"].get("Message", ""))


def words_of(error: ClientError) -> str:
    """AWS's words."""
    return f"{code_of(error)}: {message_of(error)}"


def statement(rights: Sequence[str], resources: Sequence[str] = ("*",)) -> str:
    """The statement of an IAM policy that gives rights."""
    one = {"Effect": "Allow", "Action": list(rights), "Resource": list(resources)}
    return json.dumps({key: value[0] if len(value) == 1 else value for key, value in one.items()})


def remedy(error: ClientError, right: str, otherwise: str, resource: str = "*") -> str:
    """What to do: for a right that is denied the statement that gives it, for another error ``otherwise``."""
    if not is_denied(error):
        return otherwise
    return f"Add to the IAM policy of whoever runs this: {statement([right], [resource])}"
