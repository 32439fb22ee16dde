"""The ledger keeps what may be rolled back to, whatever happened before."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import (
    BAD,
    GOOD,
    LIVE,
    STAGED,
    Entry,
    Ledger,
    forget,
    last_good,
    live_release,
    load,
    mark_bad,
    mark_live,
    only,
    prunable,
    record_staged,
    save,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = "2026-03-01T12:00:00Z"
LATER = "2026-03-01T12:05:00Z"


def staged(*names: str) -> Ledger:
    ledger = Ledger()
    for name in names:
        ledger = record_staged(ledger, name, version=f"v-{name}", commit=f"commit-{name}", now=NOW)
    return ledger


def published(*names: str) -> Ledger:
    ledger = staged(*names)
    for name in names:
        ledger = mark_live(ledger, name, now=LATER)
    return ledger


def states(ledger: Ledger) -> dict[str, str]:
    return {name: entry.state for name, entry in ledger.releases.items()}


def test_a_staged_release_has_version_commit_and_time() -> None:
    assert staged("a").releases == {"a": Entry(STAGED, "v-a", "commit-a", 1, NOW)}


def test_staging_again_changes_nothing_whatever_became_of_the_release() -> None:
    ledger = mark_bad(published("a", "b", "c"), "c", reason="broken")
    for name in ("a", "b", "c"):
        assert record_staged(ledger, name, version="other", commit="other", now=LATER) is ledger


def test_publishing_makes_the_one_before_good() -> None:
    ledger = published("a", "b")
    assert states(ledger) == {"a": GOOD, "b": LIVE}
    assert ledger.releases["b"].published_at == LATER
    assert live_release(ledger) == "b"
    assert last_good(ledger) == "a"


def test_publishing_the_live_release_changes_nothing() -> None:
    ledger = published("a", "b")
    assert mark_live(ledger, "b", now="2027-01-01T00:00:00Z") is ledger


def test_a_rollback_over_a_bad_release_leaves_the_one_before_as_last_good() -> None:
    ledger = mark_live(mark_bad(published("a", "b", "c"), "c", reason="500"), "b", now=LATER)
    assert states(ledger) == {"a": GOOD, "b": LIVE, "c": BAD}
    assert last_good(ledger) == "a"


def test_the_live_release_found_bad_is_neither_live_nor_good() -> None:
    ledger = mark_bad(published("a", "b"), "b", reason="500 at /healthz/")
    assert live_release(ledger) is None
    assert last_good(ledger) == "a"
    assert ledger.releases["b"].reason == "500 at /healthz/"


def test_a_bad_release_that_proves_itself_later_is_live_without_a_reason() -> None:
    ledger = mark_live(mark_bad(staged("a"), "a", reason="no disk"), "a", now=LATER)
    assert ledger.releases["a"].state == LIVE
    assert ledger.releases["a"].reason is None


def test_last_good_goes_by_publishing_not_by_staging_or_clock() -> None:
    ledger = staged("new", "old")
    for name, clock in (("old", "2026-01-02"), ("new", "2026-01-01"), ("old", "2025-12-31")):
        ledger = mark_live(ledger, name, now=clock)
    assert last_good(ledger) == "new"


def test_a_reason_is_one_short_line() -> None:
    reason = mark_bad(staged("a"), "a", reason="x" * 500 + "\nTraceback with a password").releases["a"].reason
    assert reason == "x" * 200


def test_marking_bad_twice_for_the_same_reason_changes_nothing() -> None:
    ledger = mark_bad(staged("a"), "a", reason="broken")
    assert mark_bad(ledger, "a", reason="broken\nmore") is ledger


@pytest.mark.parametrize(
    "mark", [lambda ledger: mark_live(ledger, "x", now=NOW), lambda ledger: mark_bad(ledger, "x", reason="")]
)
def test_an_unknown_release_is_refused_with_those_that_are_known(mark: object) -> None:
    with pytest.raises(WebappsError, match=r"release x is not .* knows a, b: stage it first"):
        mark(staged("a", "b"))  # type: ignore[operator]


def test_retention_keeps_live_and_the_last_good_ones() -> None:
    ledger = published("a", "b", "c", "d", "e")
    assert prunable(ledger, keep=2) == ["a", "b"]


def test_failed_releases_have_a_quota_of_their_own() -> None:
    ledger = published("a", "b", "c")
    for name in ("x", "y", "z"):
        ledger = record_staged(ledger, name, version=name, commit=name, now=NOW)
        ledger = mark_bad(ledger, name, reason="broken")
    assert prunable(ledger, keep=2, keep_failed=1) == ["x", "y"]


def test_a_release_that_was_only_staged_counts_as_failed() -> None:
    assert prunable(staged("a", "b", "c"), keep=5, keep_failed=2) == ["a"]


def test_what_is_protected_stays() -> None:
    assert prunable(published("a", "b", "c", "d"), keep=1, protected=["a"]) == ["b"]


def test_the_last_good_release_stays_even_where_none_is_to_be_kept() -> None:
    assert prunable(published("a", "b", "c"), keep=0) == ["a"]


# A history: what a fleet's hosts live through, each step on one of a few releases.
STEPS = st.lists(st.tuples(st.sampled_from(["stage", "publish", "bad", "prune"]), st.integers(0, 6)), max_size=60)


def after(ledger: Ledger, step: str, number: int) -> Ledger:
    name = f"r{number}"
    if step == "prune":
        return forget(ledger, prunable(ledger, keep=number % 3, keep_failed=number % 2))
    ledger = record_staged(ledger, name, version=name, commit=name, now=NOW)
    if step == "publish":
        return mark_live(ledger, name, now=LATER)
    return mark_bad(ledger, name, reason=f"step {number}") if step == "bad" else ledger


@given(STEPS, st.integers(0, 5), st.integers(0, 3), st.sets(st.integers(0, 6)))
def test_retention_never_removes_live_or_last_good_or_protected(
    steps: list[tuple[str, int]], keep: int, keep_failed: int, protected_numbers: set[int]
) -> None:
    ledger, last_published = Ledger(), None
    protected = {f"r{number}" for number in protected_numbers}
    for step, number in steps:
        ledger = after(ledger, step, number)
        last_published = f"r{number}" if step == "publish" else last_published
        removed = prunable(ledger, keep=keep, keep_failed=keep_failed, protected=protected)
        assert len(removed) == len(set(removed))
        assert not {live_release(ledger), last_good(ledger), *protected} & set(removed)
        remaining = forget(ledger, removed)
        assert (live_release(remaining), last_good(remaining)) == (live_release(ledger), last_good(ledger))
        assert prunable(remaining, keep=keep, keep_failed=keep_failed, protected=protected) == []
        assert live_release(ledger) in (last_published, None)


@given(STEPS, st.integers(0, 5), st.integers(0, 3))
def test_retention_keeps_as_many_good_ones_as_asked_whatever_failed(
    steps: list[tuple[str, int]], keep: int, keep_failed: int
) -> None:
    ledger = Ledger()
    for step, number in steps:
        ledger = after(ledger, step, number)
    good = [name for name, state in states(ledger).items() if state == GOOD]
    failed = [name for name, state in states(ledger).items() if state in (BAD, STAGED)]
    remaining = states(forget(ledger, prunable(ledger, keep=keep, keep_failed=keep_failed)))
    assert list(remaining.values()).count(GOOD) == min(len(good), max(keep, 1))
    assert len([name for name in failed if name in remaining]) == min(len(failed), keep_failed)


@given(STEPS)
def test_a_saved_ledger_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    ledger = Ledger()
    for step, number in steps:
        ledger = after(ledger, step, number)
    path = tmp_path_factory.mktemp("ledger") / "releases.json"
    save(path, ledger)
    assert load(path) == ledger
    assert [file.name for file in path.parent.iterdir()] == ["releases.json"]


def test_a_view_of_some_releases_leaves_out_the_others() -> None:
    assert set(only(published("a", "b", "c"), {"a", "c", "foreign"}).releases) == {"a", "c"}


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert load(tmp_path / "releases.json") == Ledger()


def test_the_file_is_readable_by_everyone_and_names_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "releases.json"
    save(path, published("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    document = json.loads(path.read_text())
    assert document["schema"] == 1
    assert document["releases"]["a"]["state"] == "live"


def test_a_write_that_fails_leaves_the_old_ledger_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "releases.json"
    save(path, published("a"))
    before = path.read_bytes()

    def full_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(path, published("a", "b"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["releases.json"]


def document(**entries: object) -> str:
    return json.dumps({"schema": 1, "releases": entries})


def entry(**fields: object) -> dict[str, object]:
    return {"state": "good", "version": "v", "commit": "c", "sequence": 1, "staged_at": "t", **fields}


@pytest.mark.parametrize(
    "text",
    [
        "",
        document(a=entry())[:40],
        "[]",
        '"releases"',
        '{"releases": {}}',
        '{"schema": 2, "releases": {}}',
        '{"schema": 1, "releases": []}',
        document(a=None),
        document(a={"state": "live"}),
        document(a=entry(colour="green")),
        document(a=entry(state="fine")),
        document(a=entry(version=1)),
        document(a=entry(sequence="1")),
        document(a=entry(state="live"), b=entry(state="live")),
    ],
)
def test_a_torn_or_foreign_file_is_refused_with_its_path_and_a_way_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "releases.json"
    path.write_text(text)
    with pytest.raises(WebappsError, match="is no ledger of releases") as failure:
        load(path)
    assert str(path) in failure.value.message
    assert "move it away" in failure.value.message
    assert path.read_text() == text
