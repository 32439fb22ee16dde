"""Which jobs cron understands, what is live, and how the log reads."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.cron_jobs import (
    Live,
    Stamps,
    is_schedule,
    live,
    problems,
)

NOW = datetime(2026, 11, 25, 9, 0, 5, tzinfo=timezone(timedelta(hours=1)))
JOB = {"name": "clearsessions", "schedule": "15 3 * * *", "command": ".venv/bin/python manage.py clearsessions"}
ANOTHER = "During handling of the above exception, another exception occurred:"


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "*/5 0-6 1,15 jan mon", "15 3 * * 7", "0 0 30 2 *", "@daily", "@reboot", "0 8-18/2 * * 1-5"],
)
def test_cron_understands(schedule: str) -> None:
    assert is_schedule(schedule)


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *"),
        *("* * * * *\n* * * * * root sh", "a * * * *", "1-99 * * * *", "@often"),
    ],
)
def test_cron_does_not_understand(schedule: str) -> None:
    assert not is_schedule(schedule)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "Clear Sessions"}, "is no name of a job"),
        ({"name": "../x"}, "is no name of a job"),
        ({"schedule": "daily"}, "give the five fields"),
        ({"command": "echo 'x"}, "close its quotes"),
        ({"command": " "}, "has no command"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_the_remedy(changed: dict[str, Any], expected: str) -> None:
    (problem,) = problems([{**JOB, **changed}])
    assert expected in problem


def test_names_are_unique() -> None:
    assert problems([JOB, JOB]) == ['There are 2 jobs named "clearsessions": give each a name of its own.']


def test_what_is_no_list_of_jobs_is_refused() -> None:
    assert problems("x") == ["cron_jobs must be a list of jobs, not a str."]
    assert problems(["x"]) == ["'x' is no job: give name, schedule and command."]
    assert problems([JOB]) == []


def test_live_is_what_the_links_point_at_now(tmp_path: Path) -> None:
    assert live(tmp_path) is None
    for name in ("r1", "e1"):
        (tmp_path / name).mkdir()
    (tmp_path / "repo").symlink_to("r1")
    assert live(tmp_path) is None
    (tmp_path / "environment").symlink_to("e1")
    assert live(tmp_path) == Live(tmp_path / "r1", tmp_path / "e1")


def logged(*lines: str) -> list[bool]:
    """Which of the lines begin an event."""
    stamps = Stamps("job")
    return [stamps.stamped(line, NOW) != line for line in lines]


def test_an_event_begins_with_time_zone_and_job() -> None:
    assert Stamps("job").stamped("hello", NOW) == "2026-11-25T09:00:05+0100 job: hello"


def test_every_line_is_an_event() -> None:
    assert logged("one", "  two", "", "three") == [True] * 4


def test_a_traceback_is_one_event() -> None:
    lines = ("before", "Traceback (most recent call last):", '  File "x", line 1', "    1 / 0", "ZeroDivisionError: x")
    assert logged(*lines, "after") == [True, True, False, False, False, True]


def test_the_tracebacks_of_one_error_are_one_event() -> None:
    first = ("Traceback (most recent call last):", "  x", "KeyError: 1")
    assert logged(*first, "", ANOTHER, "", *first, "after") == [True, *[False] * 8, True]


def test_two_errors_are_two_events() -> None:
    first = ("Traceback (most recent call last):", "  x", "KeyError: 1")
    assert logged(*first, *first) == [True, False, False] * 2
