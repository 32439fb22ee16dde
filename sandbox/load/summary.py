"""What a list of requests amounts to.

The phase of a request is the one in which it started: `steady` until the roll begins (SIGUSR1), `roll` until it ends
(SIGUSR2), then `after`; a second roll counts as `roll` again. `p99_steady_ms` is taken over `steady`, `p50_ms` and
`p99_ms` over `roll`, or over everything where nothing was rolled. Times are those of all requests, failed ones too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .record import Record

FAILURES_SHOWN = 50
PHASES = ("steady", "roll", "after")


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def percentile_ms(records: Iterable[Record], share: float) -> float | None:
    """Return a percentile of the requests' times, in milliseconds to one decimal."""
    value = percentile((record.ms for record in records), share)
    return None if value is None else round(value, 1)


def count_releases(records: Iterable[Record]) -> dict[str, int]:
    """Return how many answers each release gave; static files name none."""
    return dict(sorted(Counter(record.release for record in records if record.release).items()))


def achieved_rate(records: Sequence[Record]) -> float:
    """Return the starts per second from the first start to the last."""
    if len(records) < 2:
        return 0.0
    starts = [record.start for record in records]
    span = max(starts) - min(starts)
    return round((len(records) - 1) / span, 2) if span else 0.0


def summarize_phase(records: Sequence[Record]) -> dict[str, Any]:
    """Return the figures of one phase."""
    return {
        "requests": len(records),
        "failed": sum(record.error is not None for record in records),
        "maintenance": sum(record.maintenance for record in records),
        "releases": count_releases(records),
        "p50_ms": percentile_ms(records, 0.5),
        "p99_ms": percentile_ms(records, 0.99),
        "max_ms": percentile_ms(records, 1),
    }


def summarize(records: Sequence[Record], wanted_rate: float) -> dict[str, Any]:
    """Return the content of summary.json."""
    ordered = sorted(records, key=lambda record: record.start)
    failures = [record for record in ordered if record.error is not None]
    phases = {phase: [record for record in ordered if record.phase == phase] for phase in PHASES}
    measured = phases["roll"] or ordered
    return {
        "requests": len(ordered),
        "failed": len(failures),
        "maintenance": sum(record.maintenance for record in ordered),
        "failures": [record.as_dict() for record in failures[:FAILURES_SHOWN]],
        "releases": count_releases(ordered),
        "p50_ms": percentile_ms(measured, 0.5),
        "p99_ms": percentile_ms(measured, 0.99),
        "p99_steady_ms": percentile_ms(phases["steady"], 0.99),
        "rate": achieved_rate(ordered),
        "wanted_rate": wanted_rate,
        "late_ms_max": round(max((record.late_ms for record in ordered), default=0.0), 1),
        "kinds": dict(Counter(record.kind for record in ordered)),
        "connections": dict(Counter(record.connection for record in ordered)),
        "phases": {phase: summarize_phase(members) for phase, members in phases.items() if members},
    }
