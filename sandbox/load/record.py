"""What is written down about one request."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Connection = Literal["keep-alive", "new"]
Kind = Literal["page", "static", "form"]
Phase = Literal["steady", "roll", "after"]


@dataclass(frozen=True)
class Record:
    """One request. It failed if `error` says something; a failed one may still have a status."""

    start: float  # seconds since the epoch
    ms: float  # from the start to the last byte of the answer, or to the error
    late_ms: float  # how long after its due time the generator started it
    phase: Phase  # in which it started
    connection: Connection
    kind: Kind
    method: str
    path: str
    status: int | None
    release: str | None  # X-Release of the answer
    error: str | None
    maintenance: bool = False  # the answer was the maintenance page, and that was no failure

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is written to requests.jsonl."""
        return asdict(self)
