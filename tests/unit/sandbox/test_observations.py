"""What was observed of a fault is told from what happened to the fleet, in a line of a table."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

from sandbox.fleet import Load, Run
from sandbox.observations import Observation, Standing, message, observed, table

FAILED = """TASK [gunicorn : Publish the release] ***
[ERROR]: Task failed: Module failed: It did not prove itself within 20 s.
[ERROR]: Task failed: Action failed: web-1: It did not prove itself | within 20 s.
Origin: /somewhere
"""
STANDING = Standing({"web-2": "b", "web-1": "a"}, {"i-2": "healthy", "i-1": "draining", "i-3": "healthy"})


def seen(requests: int, failed: int) -> Load:
    # The summary alone is read.
    return Load(Path("nowhere"), cast("subprocess.Popen[bytes]", None), {"requests": requests, "failed": failed})


def test_the_last_error_is_told_without_the_words_that_ansible_puts_before_it() -> None:
    assert message(FAILED) == "web-1: It did not prove itself | within 20 s."
    assert message("PLAY RECAP") == ""


def test_what_ran_before_the_fleet_was_looked_at_is_the_fault_and_the_rest_its_repair() -> None:
    journal = [seen(100, 0), Run(-9, "", 1), Run(-9, "", 1), Run(2, FAILED, 1), STANDING, Run(0, "", 1), seen(50, 3)]
    assert observed("test_x", journal) == Observation(
        row="test_x",
        requests=150,
        failed=3,
        ended="killed by SIGKILL (2 times), exit 2",
        message="web-1: It did not prove itself | within 20 s.",
        standing=STANDING,
        then="exit 0",
    )


def test_a_test_without_users_or_a_next_deploy_says_so_rather_than_nought() -> None:
    assert observed("test_x", [Run(0, "", 1)]) == Observation("test_x", None, None, "exit 0", "", None, None)


def test_users_who_were_cut_off_are_not_counted() -> None:
    cut_off = seen(1, 0)
    cut_off.summary.clear()
    assert observed("test_x", [cut_off]).requests is None


def test_the_table_has_a_row_for_each_test_in_its_words() -> None:
    journal = [seen(10, 0), Run(2, FAILED, 1), STANDING, Run(0, "", 1)]
    rows = table(
        [observed("test_a_host_is_lost[while it <builds>]", journal), observed("test_a_lock_is_torn", [Run(0, "", 1)])]
    ).splitlines()
    assert rows[2:] == [
        "| a host is lost (while it &lt;builds>) | 10 | 0 | exit 2 "
        "| web-1 a, web-2 b; draining, healthy (2 times) | exit 0 "
        "| web-1: It did not prove itself &#124; within 20 s. |",
        "| a lock is torn | - | - | exit 0 | - | - | - |",
    ]
