"""What proves a dump, and that nothing goes that must stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_dumps
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_dumps import Description, Dump, Retention
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAIN = "amy.example.org"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CONTENT = b"PGDMP and so on"


def put(directory: Path, taken: datetime, *, reason: str = "timer", domain: str = DOMAIN) -> Dump:
    """A proven dump as a backup leaves it."""
    path = directory / pg_dumps.name_of(domain, taken)
    dump = Dump(path, taken)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(CONTENT)
    description = Description(
        domain,
        "amy",
        "db:5432",
        15,
        taken.isoformat(),
        reason,
        "",
        len(CONTENT),
        pg_dumps.sha256_of(partial),
        {"a.b": 3},
    )
    pg_dumps.settle(partial, dump, description)
    return dump


def test_a_settled_dump_is_proven_and_verified(tmp_path: Path) -> None:
    dump = put(tmp_path, NOW)
    assert pg_dumps.proven(tmp_path, DOMAIN) == [dump]
    assert pg_dumps.verified(dump.path, domain=DOMAIN, database="amy").tables == {"a.b": 3}
    assert pg_dumps.leftovers(tmp_path, DOMAIN) == []


@pytest.mark.parametrize("suffix", [".json", ".sha256"])
def test_a_dump_is_not_there_before_its_proof_is(tmp_path: Path, suffix: str) -> None:
    dump = put(tmp_path, NOW)
    dump.path.rename(f"{dump.path}.partial")
    assert pg_dumps.proven(tmp_path, DOMAIN) == []
    assert dump.sidecar(suffix) in pg_dumps.leftovers(tmp_path, DOMAIN)


def test_what_is_no_dump_of_this_application_is_refused_by_name(tmp_path: Path) -> None:
    path = put(tmp_path, NOW).path
    with pytest.raises(WebappsError, match=r"foreign dump: it was made of amy\.example\.org, and this is eve"):
        pg_dumps.verified(path, domain="eve.example.org")
    with pytest.raises(WebappsError, match='foreign dump: it was made of the database "amy"'):
        pg_dumps.verified(path, domain=DOMAIN, database="eve")
    with pytest.raises(WebappsError, match="There is no dump"):
        pg_dumps.verified(tmp_path / "nothing", domain=DOMAIN)


@settings(deadline=None)
@given(st.data())
def test_no_damage_is_passed_over(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = put(tmp_path_factory.mktemp("damage"), NOW).path
    damaged = data.draw(
        st.one_of(
            st.integers(0, len(CONTENT) - 1).map(lambda size: CONTENT[:size]),
            st.integers(0, len(CONTENT) * 8 - 1).map(
                lambda bit: (int.from_bytes(CONTENT, "big") ^ (1 << bit)).to_bytes(len(CONTENT), "big")
            ),
            st.binary(min_size=1).map(lambda more: CONTENT + more),
        )
    )
    path.write_bytes(damaged)
    with pytest.raises(WebappsError, match=r"is empty|is truncated|is damaged"):
        pg_dumps.verified(path, domain=DOMAIN)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    dump = put(tmp_path, NOW)
    dump.path.write_bytes(b"plain SQL")
    described = replace(pg_dumps.described(dump.path), size=9, sha256=pg_dumps.sha256_of(dump.path))
    dump.sidecar(".json").write_text(described.text())
    with pytest.raises(WebappsError, match="custom format"):
        pg_dumps.verified(dump.path, domain=DOMAIN)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"domain": 1'])
def test_a_broken_description_is_an_error_and_proves_nothing(tmp_path: Path, text: str) -> None:
    dump = put(tmp_path, NOW)
    dump.sidecar(".json").write_text(text)
    with pytest.raises(WebappsError, match="no description"):
        pg_dumps.described(dump.path)
    assert not pg_dumps.is_proven(dump, DOMAIN)


histories = st.lists(
    st.tuples(st.integers(0, 200_000), st.sampled_from(["timer", "manual", "deploy"])),
    unique_by=lambda pair: pair[0],
    max_size=30,
)


@given(histories, st.integers(-1, 10), st.integers(0, 60))
def test_retention_never_lets_go_what_must_stay(history: list[tuple[int, str]], count: int, days: int) -> None:
    dumps = [(Dump(Path(str(age)), NOW - timedelta(minutes=age)), reason) for age, reason in history]
    gone = {dump.path for dump in pg_dumps.expired(dumps, Retention(count, days), NOW)}
    ordered = sorted(dumps, key=lambda pair: pair[0].taken, reverse=True)
    for number, (dump, reason) in enumerate(ordered):
        newest_deploy = reason == "deploy" and not any(earlier == "deploy" for _, earlier in ordered[:number])
        stays = number < max(count, 1) or NOW - dump.taken < timedelta(days=days) or newest_deploy
        assert (dump.path in gone) != stays
    # What is left is left the next time, too.
    left = [pair for pair in dumps if pair[0].path not in gone]
    assert pg_dumps.expired(left, Retention(count, days), NOW) == []


foreign_names = st.one_of(
    st.sampled_from([f"eve.example.org-20200101T000000Z.dump{end}" for end in ("", ".json", ".partial")]),
    st.sampled_from(
        [f"{DOMAIN}-20209901T000000Z.dump", f"{DOMAIN}-now.dump", f"x{DOMAIN}-20200101T000000Z.dump.partial"]
    ),
    st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8),
)


@settings(deadline=None, max_examples=40)
@given(histories, st.lists(foreign_names, unique=True), st.integers(0, 5))
def test_pruning_touches_no_foreign_file(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, str]], names: list[str], count: int
) -> None:
    directory = tmp_path_factory.mktemp("prune")
    for age, reason in history:
        put(directory, NOW - timedelta(minutes=age), reason=reason)
    for name in names:
        (directory / name).write_text("foreign")
    pg_dumps.prune(directory, DOMAIN, Retention(count, 1), NOW)
    assert [name for name in names if not (directory / name).exists()] == []
    left = pg_dumps.proven(directory, DOMAIN)
    assert bool(left) == bool(history)
    if history:
        assert left[0].taken == NOW - timedelta(minutes=min(age for age, _reason in history))
