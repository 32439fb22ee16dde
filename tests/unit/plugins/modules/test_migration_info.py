"""Which migrations an older release does not know, and which release on the host can show what they did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import load, mark_live, record_staged, save
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import ABSENT, MARK, UNKNOWN
from ansible_collections.carpentries.webapps.plugins.modules.migration_info import inspected

from tests.unit.plugins.release_support import build, description, host, release_id

PUBLISHED, BEFORE, AFTER = "2026-03-01T12:00:00Z", 1_772_366_399, 1_772_366_401


@dataclass
class Django:
    """Stands for `manage.py shell`: each release knows some migrations, and the database has its own."""

    applied: Mapping[str, float]
    known: dict[str, set[str]] = field(default_factory=dict)

    def __call__(
        self, command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        assert directory is not None
        known = self.known.get(directory.name)
        if known is None:
            return Finished(1, "", "ModuleNotFoundError: No module named 'gone'")
        if command[-1] == UNKNOWN:
            return self._printed([["notes", name, at] for name, at in self.applied.items() if name not in known])
        wanted = [name for name in self.applied if f"'{name}'" in command[-1]]
        row: dict[str, Any] = {"app": "notes", "operations": ["RemoveField"], "python": [], "sql": ["DROP;"]}
        return self._printed([{**row, "name": name} for name in wanted if name in known])

    @staticmethod
    def _printed(rows: list[Any]) -> Finished:
        return Finished(0, f"{MARK}{json.dumps(rows)}\n", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A host with the releases 1 to 3, of which 1 serves and 2 and 3 never did."""
    layout = host(tmp_path)
    (layout.environments / "environment").touch()
    ledger = load(layout.ledger)
    for number in (1, 2, 3):
        (build(layout, number) / "RELEASE.json").write_text(description(number).text())
        ledger = record_staged(ledger, release_id(number), version=f"v{number}", commit="c", now=PUBLISHED)
    save(layout.ledger, mark_live(ledger, release_id(1), now=PUBLISHED, environment="environment"))
    return layout


def unknown(layout: Layout, django: Django, live: int, older: int) -> dict[str, list[str]]:
    params = {
        "root": str(layout.root),
        "release": release_id(live),
        "environment_digest": "environment",
        "user": "amy",
        "shell_command": ["manage.py", "shell", "--command"],
        "unknown_to": release_id(older),
    }
    return {row["name"]: row["operations"] for row in inspected(django, params, check=False)["pending"]}


def test_a_migration_of_a_release_that_never_served_is_read_in_that_release(layout: Layout) -> None:
    known = {release_id(1): {"0001"}, release_id(2): {"0001", "0002"}}
    assert unknown(layout, Django({"0001": BEFORE, "0002": AFTER}, known), live=1, older=1) == {"0002": ["RemoveField"]}


def test_a_migration_that_no_release_on_the_host_shows_is_listed_all_the_same(layout: Layout) -> None:
    known: dict[str, set[str]] = {release_id(1): {"0001"}}
    assert unknown(layout, Django({"0001": BEFORE, "0002": AFTER}, known), live=1, older=1) == {"0002": [ABSENT]}


def test_what_was_in_the_database_before_the_older_release_went_live_it_survived(layout: Layout) -> None:
    known: dict[str, set[str]] = {release_id(1): {"0002"}}
    assert unknown(layout, Django({"0001_squashed_long_ago": BEFORE, "0002": BEFORE}, known), live=1, older=1) == {}


def test_a_release_that_was_never_live_is_held_to_have_survived_nothing(layout: Layout) -> None:
    known: dict[str, set[str]] = {release_id(1): {"0002"}, release_id(2): {"0002"}}
    assert unknown(layout, Django({"0001": BEFORE, "0002": BEFORE}, known), live=1, older=2) == {"0001": [ABSENT]}


def test_what_the_release_that_serves_shows_is_asked_of_no_other(layout: Layout) -> None:
    known = {release_id(1): {"0001", "0002"}, release_id(2): {"0001"}}
    assert unknown(layout, Django({"0001": BEFORE, "0002": AFTER}, known), live=1, older=2) == {"0002": ["RemoveField"]}
