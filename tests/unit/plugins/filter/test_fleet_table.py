"""How a table of the fleet reads."""

from __future__ import annotations

from ansible_collections.carpentries.webapps.plugins.filter.fleet_table import fleet_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [{"host": "web-1", "release": "3f2a"}, {"host": "a-long-name", "release": "3f2a"}]
    assert fleet_table(rows) == ["host         release", "web-1        3f2a", "a-long-name  3f2a"]


def test_lists_are_joined_and_nothing_is_a_dash() -> None:
    rows: list[dict[str, object]] = [{"host": "h", "runs": ["gunicorn", "rqworker"], "pool": None, "note": ""}]
    assert fleet_table(rows)[1] == "h     gunicorn, rqworker  -     -"


def test_no_rows_are_no_lines() -> None:
    assert fleet_table([]) == []
