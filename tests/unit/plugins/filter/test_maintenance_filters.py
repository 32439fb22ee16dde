"""How the state of maintenance reads, and what is said of an end that is none."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.filter.maintenance_end import maintenance_end
from ansible_collections.carpentries.webapps.plugins.filter.maintenance_table import maintenance_table

ON = {"active": True, "shown_by": "deploy", "page": True, "status": 503, "health": 200}
OFF = {"active": False, "shown_by": None, "page": False, "status": 200, "health": 200}
DEAD = {"active": False, "shown_by": None, "page": False, "status": None, "health": None}


def test_a_host_a_line() -> None:
    assert maintenance_table({"web-2": OFF, "web-1": ON, "web-3": DEAD}, ["192.0.2.0/24"]) == [
        "host   maintenance  shown by  users get      balancer gets",
        "web-1  on           deploy    the page, 503  200",
        "web-2  off          -         200            200",
        "web-3  off          -         no answer      no answer",
        "192.0.2.0/24 get the site nevertheless (maintenance_allowed_cidrs).",
    ]


def test_while_the_page_is_off_nobody_needs_to_be_let_in() -> None:
    assert len(maintenance_table({"web-1": OFF}, ["192.0.2.0/24"])) == 2


def test_an_end_is_read_or_refused() -> None:
    assert maintenance_end("2026-03-01T14:30Z")["text"] == "Sunday, 1 March 2026, 14:30 UTC"
    with pytest.raises(AnsibleFilterError, match="tomorrow"):
        maintenance_end("tomorrow")
