"""The summary says what the requests say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.load.record import Phase, Record
from sandbox.load.summary import FAILURES_SHOWN, percentile, summarize

GOOD = Record(
    start=1000.0,
    ms=10.0,
    late_ms=0.0,
    phase="steady",
    connection="new",
    kind="page",
    method="GET",
    path="/",
    status=200,
    release="aaa",
    error=None,
)


def series(phase: Phase, times: list[float], start: float = 1000.0, release: str = "aaa") -> list[Record]:
    """Return one request a second, taking the given milliseconds."""
    return [replace(GOOD, phase=phase, ms=ms, start=start + number, release=release) for number, ms in enumerate(times)]


def test_the_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.99) is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1, 100), (0, 1)])
def test_a_percentile_is_the_smallest_value_that_enough_others_do_not_exceed(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_a_value_that_at_least_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    # Values are whole; a share of them need not be.
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_no_request_makes_a_summary_without_figures() -> None:
    summary = summarize([], 80)
    assert (summary["requests"], summary["failed"], summary["failures"]) == (0, 0, [])
    assert summary["p99_ms"] is summary["p99_steady_ms"] is None
    assert summary["phases"] == {}
    assert summary["rate"] == 0


def test_the_steady_percentile_is_taken_before_the_roll_and_the_others_during_it() -> None:
    records = (
        series("steady", [10, 20, 30])
        + series("roll", [40, 50, 60], start=1003)
        + series("after", [1, 2, 900], start=1006)
    )
    summary = summarize(records, 1)
    assert summary["p99_steady_ms"] == 30
    assert summary["p50_ms"] == 50
    assert summary["p99_ms"] == 60
    assert [summary["phases"][phase]["p99_ms"] for phase in ("steady", "roll", "after")] == [30, 60, 900]


def test_without_a_roll_the_percentiles_are_taken_over_everything() -> None:
    summary = summarize(series("steady", [10, 20, 30]), 1)
    assert summary["p50_ms"] == 20
    assert summary["p99_ms"] == summary["p99_steady_ms"] == 30


def test_every_failure_counts_whatever_its_status_was() -> None:
    records = [
        GOOD,
        replace(GOOD, start=1002, status=502, error="unexpected status 502", release=None),
        replace(GOOD, start=1001, status=None, error="ConnectError", release=None),
        replace(GOOD, start=1003, error="no X-Release", release=None, phase="roll"),
    ]
    summary = summarize(records, 80)
    assert summary["failed"] == 3
    assert [failure["error"] for failure in summary["failures"]] == [
        "ConnectError",
        "unexpected status 502",
        "no X-Release",
    ]
    assert summary["phases"]["steady"]["failed"] == 2
    assert summary["phases"]["roll"]["failed"] == 1


def test_a_long_list_of_failures_is_shown_in_part_and_counted_in_full() -> None:
    summary = summarize([replace(GOOD, error="gone")] * (FAILURES_SHOWN + 1), 80)
    assert summary["failed"] == FAILURES_SHOWN + 1
    assert len(summary["failures"]) == FAILURES_SHOWN


def test_answers_are_counted_per_release_and_static_files_name_none() -> None:
    records = [
        *series("steady", [1, 1], release="aaa"),
        *series("roll", [1, 1, 1], release="bbb"),
        replace(GOOD, kind="static", release=None),
    ]
    summary = summarize(records, 80)
    assert summary["releases"] == {"aaa": 2, "bbb": 3}
    assert summary["phases"]["roll"]["releases"] == {"bbb": 3}
    assert summary["kinds"] == {"page": 5, "static": 1}


def test_the_rate_is_that_of_the_starts_in_whatever_order_the_answers_came() -> None:
    records = [replace(GOOD, start=1000 + number / 80) for number in range(161)]
    assert summarize(records[::-1], 80)["rate"] == 80


def test_the_generators_own_lateness_is_shown() -> None:
    assert summarize([GOOD, replace(GOOD, late_ms=120.0)], 80)["late_ms_max"] == 120


def test_the_maintenance_page_is_counted_apart_from_failures() -> None:
    records = [GOOD, replace(GOOD, status=503, release=None, maintenance=True, phase="roll")]
    summary = summarize(records, 80)
    assert (summary["failed"], summary["maintenance"]) == (0, 1)
    assert [summary["phases"][phase]["maintenance"] for phase in ("steady", "roll")] == [0, 1]
