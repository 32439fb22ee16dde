"""Only what is ours and needed by nobody goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.pruning import (
    InUse,
    Pruning,
    Retention,
    in_use,
    plan_pruning,
    prune,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import building_mark, listing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.plugins.release_support import NOW, build, description, host, release_id

IDLE = InUse(frozenset(), frozenset())
RETENTION = Retention(1, 0, [], [], [], None)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


def put(layout: Layout, number: int, state: str = "live") -> Path:
    """A release on the host as staging and publishing leave it, with a static file of its own."""
    tree = build(layout, number, {f"app.{number}.css": "x", "shared.css": "x"})
    (tree / "RELEASE.json").write_text(description(number).text())
    for name in (f"app.{number}.css", "shared.css"):
        (layout.static / name).write_text("x")
    known = ledger.record_staged(ledger.load(layout.ledger), release_id(number), version="v", commit="c", now=NOW)
    if state == "live":
        known = ledger.mark_live(known, release_id(number), now=NOW)
    if state == "bad":
        known = ledger.mark_bad(known, release_id(number), reason="broken")
    ledger.save(layout.ledger, known)
    return tree


def pruned(layout: Layout, retention: Retention = RETENTION, used: InUse = IDLE) -> Pruning:
    pruning = plan_pruning(layout, retention, used)
    prune(layout, pruning)
    assert plan_pruning(layout, retention, used).lines(layout) == []
    return pruning


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_live_and_the_last_good_ones_stay(layout: Layout) -> None:
    for number in (1, 2, 3, 4):
        put(layout, number)
    pruned(layout)
    assert names(layout.releases) == [release_id(3), release_id(4)]
    assert [entry["id"] for entry in listing(layout)["releases"]] == [release_id(3), release_id(4)]


def test_the_release_that_repo_points_at_stays_whatever_the_ledger_says(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    layout.repo.symlink_to(f"releases/{release_id(1)}")
    pruned(layout)
    assert release_id(1) in names(layout.releases)


def test_a_release_that_still_runs_stays(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    pruned(layout, used=InUse(frozenset([release_id(1)]), frozenset()))
    assert release_id(1) in names(layout.releases)


def test_what_the_caller_names_stays(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    pruned(layout, replace(RETENTION, releases=[release_id(1)]))
    assert release_id(1) in names(layout.releases)


def test_failed_releases_go_beyond_their_own_quota(layout: Layout) -> None:
    put(layout, 1)
    for number in (2, 3, 4):
        put(layout, number, "bad")
    pruned(layout, replace(RETENTION, keep=3, keep_failed=1))
    assert names(layout.releases) == [release_id(1), release_id(4)]


def test_what_this_collection_did_not_make_stays(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    for name in ("20220101-by-hand", ".hidden", release_id(77)):
        (layout.releases / name).mkdir()
    (layout.releases / "notes.txt").touch()
    (layout.environments / "by-hand.env").touch()
    pruned(layout)
    assert {"20220101-by-hand", ".hidden", release_id(77), "notes.txt"} <= set(names(layout.releases))
    assert names(layout.environments) == ["by-hand.env"]


def test_a_whole_release_that_the_ledger_does_not_know_stays(layout: Layout) -> None:
    put(layout, 1)
    layout.ledger.unlink()
    put(layout, 2)
    put(layout, 3)
    pruned(layout, replace(RETENTION, keep=1))
    assert release_id(1) in names(layout.releases)


def test_what_killed_calls_left_goes(layout: Layout) -> None:
    put(layout, 1)
    for name in (f".{release_id(2)}.partial", f".{release_id(3)}.removed"):
        (layout.releases / name / "deep").mkdir(parents=True)
    (layout.releases / f".{release_id(4)}.index").touch()
    build(layout, 5)
    building_mark(layout, release_id(5)).touch()
    (layout.environments / ".1a2b3c4d.new").touch()
    pruned(layout)
    assert names(layout.releases) == [release_id(1)]
    assert names(layout.environments) == []


def test_a_mark_of_a_build_does_not_endanger_a_finished_release(layout: Layout) -> None:
    put(layout, 1)
    building_mark(layout, release_id(1)).touch()
    pruned(layout)
    assert names(layout.releases) == [release_id(1)]


def test_an_entry_without_a_directory_is_forgotten_unless_it_runs(layout: Layout) -> None:
    put(layout, 1)
    known = ledger.load(layout.ledger)
    for number in (2, 3):
        known = ledger.record_staged(known, release_id(number), version="v", commit="c", now=NOW)
    ledger.save(layout.ledger, known)
    pruned(layout, used=InUse(frozenset([release_id(3)]), frozenset()))
    assert set(ledger.load(layout.ledger).releases) == {release_id(1), release_id(3)}


def test_static_files_stay_as_long_as_a_kept_release_has_them(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    (layout.static / "gone").mkdir()
    (layout.static / "gone/old.css").touch()
    pruned(layout)
    assert names(layout.static) == ["app.2.css", "app.3.css", "shared.css"]


def test_static_files_stay_where_no_release_is_known(layout: Layout) -> None:
    (layout.static / "app.css").touch()
    pruned(layout)
    assert names(layout.static) == ["app.css"]


def test_environment_files_go_unless_linked_named_by_supervisor_or_by_the_caller(layout: Layout) -> None:
    for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"):
        (layout.environments / name).touch()
    layout.environment.symlink_to("environments/aaaaaaaa")
    pruned(layout, replace(RETENTION, environments=["bbbbbbbb"]), InUse(frozenset(), frozenset(["cccccccc"])))
    assert names(layout.environments) == ["aaaaaaaa", "bbbbbbbb", "cccccccc"]


def test_artifacts_go_but_for_those_named(tmp_path: Path, layout: Layout) -> None:
    directory = tmp_path / "artifacts"
    directory.mkdir()
    for number in (1, 2):
        for name in (f"{release_id(number)}.tar.zst", f"{release_id(number)}.tar.zst.sha256"):
            (directory / name).touch()
    (directory / f".{release_id(1)}.killed").mkdir()
    (directory / "by-hand.tar").touch()
    pruned(layout, replace(RETENTION, artifacts=[release_id(2)], artifact_directory=directory))
    assert names(directory) == [f"{release_id(2)}.tar.zst", f"{release_id(2)}.tar.zst.sha256", "by-hand.tar"]


def test_a_bare_host_has_nothing_to_prune(tmp_path: Path) -> None:
    bare = Layout(tmp_path / "bare")
    retention = replace(RETENTION, artifact_directory=tmp_path / "none")
    assert plan_pruning(bare, retention, IDLE).lines(bare) == []


def test_a_torn_ledger_stops_pruning_before_anything_is_removed(layout: Layout) -> None:
    for number in (1, 2, 3):
        put(layout, number)
    layout.ledger.write_text("{")
    with pytest.raises(WebappsError, match="is no ledger"):
        pruned(layout)
    assert len(names(layout.releases)) == 3


def test_a_call_that_dies_while_removing_leaves_nothing_that_counts(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        put(layout, number)

    def dies(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            pruned(layout)
    assert [entry["id"] for entry in listing(layout)["releases"]] == [release_id(2), release_id(3)]
    pruned(layout)
    assert names(layout.releases) == [release_id(2), release_id(3)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["live", "bad", "staged", "prune"]), st.integers(1, 6)), min_size=1, max_size=20
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 2), st.integers(0, 2))
def test_whatever_happened_live_and_last_good_stay_on_the_disk(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], keep: int, keep_failed: int
) -> None:
    layout = host(tmp_path_factory.mktemp("host"))
    for step, number in steps:
        if step != "prune" and not layout.release(release_id(number)).exists():
            put(layout, number, step)
        elif step == "live":
            ledger.save(layout.ledger, ledger.mark_live(ledger.load(layout.ledger), release_id(number), now=NOW))
        elif step == "prune":
            before = listing(layout)
            pruned(layout, replace(RETENTION, keep=keep, keep_failed=keep_failed))
            known = ledger.load(layout.ledger)
            assert before["last_good"] == ledger.last_good(known)
            for kept in (ledger.live_release(known), ledger.last_good(known)):
                assert kept is None or layout.release(kept).is_dir()


# what is in use


def process(proc: Path, number: int, *, cwd: str = "/", exe: str = "/usr/bin/python3.11", cmdline: str = "") -> None:
    directory = proc / str(number)
    directory.mkdir(parents=True)
    (directory / "cwd").symlink_to(cwd)
    (directory / "exe").symlink_to(exe)
    (directory / "cmdline").write_bytes(cmdline.replace(" ", "\0").encode())


def test_a_release_is_in_use_by_what_works_in_it_or_was_started_from_it(tmp_path: Path, layout: Layout) -> None:
    proc, conf_dir = tmp_path / "proc", tmp_path / "conf.d"
    conf_dir.mkdir()
    process(proc, 1, cwd=str(layout.release(release_id(1))))
    process(proc, 2, cwd=f"{layout.release(release_id(2))}/config (deleted)")
    process(proc, 3, exe=f"{layout.release(release_id(3))}/.venv/bin/python")
    process(proc, 4, cmdline=f"{layout.release(release_id(4))}/.venv/bin/python worker.py")
    process(proc, 5, cwd=f"/webapps/other.example.org/releases/{release_id(5)}")
    process(proc, 6, cwd=f"{layout.release(release_id(6))}-backup")
    (proc / "self").mkdir()
    assert in_use(layout, proc=proc, conf_dir=conf_dir).releases == {release_id(number) for number in (1, 2, 3, 4)}


def test_what_supervisors_files_of_this_application_name_is_in_use(tmp_path: Path, layout: Layout) -> None:
    proc, conf_dir = tmp_path / "proc", tmp_path / "conf.d"
    proc.mkdir()
    conf_dir.mkdir()
    (conf_dir / f"{layout.domain}-gunicorn-{release_id(1)}-11111111.conf").write_text(
        f"; release = {release_id(1)}\n; environment = aaaaaaaa\n"
        f"command=webapps-run {layout.environments}/bbbbbbbb x\ndirectory={layout.release(release_id(2))}\n"
    )
    (conf_dir / f"other.example.org-gunicorn-{release_id(3)}-11111111.conf").write_text(
        f"; release = {release_id(3)}\n"
    )
    used = in_use(layout, proc=proc, conf_dir=conf_dir)
    assert used.releases == {release_id(1), release_id(2)}
    assert used.environments == {"aaaaaaaa", "bbbbbbbb"}


def test_the_processes_of_this_machine_can_be_looked_at(tmp_path: Path, layout: Layout) -> None:
    assert in_use(layout, proc=Path("/proc"), conf_dir=tmp_path) == IDLE
