"""How a table of the fleet reads."""

from __future__ import annotations

from typing import Any

from ansible_collections.carpentries.webapps.plugins.filter.fleet_table import fleet_table
from ansible_collections.carpentries.webapps.plugins.module_utils.text_table import aligned


def running(*programs: tuple[str, str], retiring: str = "") -> dict[str, Any]:
    found = [
        {"program": name, "generation": f"r1-{name}", "state": state, "retiring": False} for name, state in programs
    ]
    if retiring:
        found.append({"program": "rqworker", "generation": retiring, "state": "STOPPING", "retiring": True})
    return {"repo": "r1", "programs": found}


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [{"host": "web-1", "release": "3f2a"}, {"host": "a-long-name", "release": "3f2a"}]
    assert aligned(rows) == ["host         release", "web-1        3f2a", "a-long-name  3f2a"]


def test_hosts_are_sorted_and_what_is_not_there_is_a_dash() -> None:
    fleet = {"worker-1": running(("rqworker", "RUNNING"), ("rqscheduler", "RUNNING")), "db-1": running()}
    assert fleet_table(fleet) == [
        "host      release  runs                   state    retiring",
        "db-1      r1       -                      -        -",
        "worker-1  r1       rqworker, rqscheduler  RUNNING  -",
    ]


def test_what_still_finishes_its_work_is_shown_apart() -> None:
    line = fleet_table({"worker-1": running(("rqworker", "RUNNING"), retiring="r0-rqworker")})[1]
    assert line.split() == ["worker-1", "r1", "rqworker", "RUNNING", "r0-rqworker"]


def test_no_hosts_are_no_lines() -> None:
    assert fleet_table({}) == []
