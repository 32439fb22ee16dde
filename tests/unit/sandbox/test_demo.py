"""What the demo holds against a roll."""

from __future__ import annotations

from typing import Any

from sandbox.demo import verdict

GOOD: dict[str, Any] = {
    "requests": 8000,
    "failed": 0,
    "failures": [],
    "releases": {"a": 5000, "b": 3000},
    "p99_ms": 120.0,
    "p99_steady_ms": 50.0,
}
SAME = {"web-1": "b", "web-2": "b", "web-3": "b"}


def test_a_good_roll_has_nothing_against_it() -> None:
    assert verdict(GOOD, SAME) == []


def test_one_failed_request_is_one_too_many() -> None:
    (sentence,) = verdict({**GOOD, "failed": 1, "failures": [{"status": 502}]}, SAME)
    assert "1 of 8000 requests failed" in sentence
    assert "502" in sentence


def test_a_roll_in_which_only_one_release_answered_proves_nothing() -> None:
    assert "two releases" in verdict({**GOOD, "releases": {"b": 8000}}, SAME)[0]


def test_a_host_left_behind_is_named() -> None:
    assert "'web-3': 'a'" in verdict(GOOD, {**SAME, "web-3": "a"})[0]


def test_a_roll_that_makes_everybody_wait_is_none() -> None:
    assert "p99" in verdict({**GOOD, "p99_ms": 151.0}, SAME)[0]
