"""An artifact becomes a release on a host, or nothing at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger, staging
from ansible_collections.carpentries.webapps.plugins.module_utils.artifacts import Artifacts, must_build, pack
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import (
    building_mark,
    is_complete,
    linked_release,
    listing,
    read_description,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.staging import Artifact, Staged, Staging, stage

from tests.unit.plugins.release_support import (
    NOW,
    PLATFORM,
    Recorder,
    build,
    description,
    host,
    packed,
    release_id,
    run,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


def staged(layout: Layout, number: int, artifact: Artifact | None, *, check: bool = False) -> Staged:
    wanted = Staging(release_id(number), artifact, os.getegid(), PLATFORM, NOW)
    return stage(run, layout, wanted, check=check)


def tree_of(path: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a path, with modes and contents."""
    return {
        str(file.relative_to(path)): (
            file.lstat().st_mode,
            str(file.readlink()).encode() if file.is_symlink() else file.read_bytes() if file.is_file() else b"",
        )
        for file in sorted(path.rglob("*"))
    }


# packing


def test_an_artifact_has_a_checksum_that_sha256sum_accepts(tmp_path: Path) -> None:
    artifact = packed(tmp_path, 1)
    checked = run(["sha256sum", "--check", f"{artifact.path.name}.sha256"], directory=artifact.path.parent)
    assert checked.status == 0
    assert sorted(file.name for file in artifact.path.parent.iterdir()) == [
        artifact.path.name,
        f"{artifact.path.name}.sha256",
    ]


def test_packing_removes_what_was_built_for_it(tmp_path: Path) -> None:
    layout, artifacts = host(tmp_path), Artifacts(tmp_path)
    build(layout, 1)
    building_mark(layout, release_id(1)).touch()
    pack(run, layout, artifacts, description(1))
    assert list(layout.releases.iterdir()) == []


def test_packing_again_makes_nothing_again(tmp_path: Path) -> None:
    first = packed(tmp_path, 1)
    before = first.path.stat()
    layout = host(tmp_path)
    assert pack(run, layout, Artifacts(first.path.parent), description(1)) == first.sha256
    assert first.path.stat() == before


def test_a_release_that_is_staged_on_the_builder_is_packed_and_stays(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1))
    before = tree_of(layout.root)
    artifacts = Artifacts(tmp_path / "other")
    artifacts.directory.mkdir()
    assert not must_build(layout, artifacts, release_id(1))
    digest = pack(run, layout, artifacts, description(1))
    assert tree_of(layout.root) == before
    second = host(tmp_path, "second.example.org")
    staged(second, 1, Artifact(artifacts.path(release_id(1)), digest))
    assert is_complete(second, release_id(1))


def test_a_build_must_be_made_where_there_is_neither_artifact_nor_release(tmp_path: Path, layout: Layout) -> None:
    artifacts = Artifacts(tmp_path)
    assert must_build(layout, artifacts, release_id(1))
    build(layout, 1)
    assert must_build(layout, artifacts, release_id(1))
    pack(run, layout, artifacts, description(1))
    assert not must_build(layout, artifacts, release_id(1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda artifact: artifact.path.write_bytes(artifact.path.read_bytes()[:-10]),
        lambda artifact: artifact.path.unlink(),
        lambda artifact: artifact.path.with_name(f"{artifact.path.name}.sha256").unlink(),
        lambda artifact: artifact.path.with_name(f"{artifact.path.name}.sha256").write_text(""),
    ],
)
def test_an_artifact_that_a_killed_build_left_does_not_count(
    tmp_path: Path, damage: Callable[[Artifact], object]
) -> None:
    artifact = packed(tmp_path, 1)
    damage(artifact)
    assert Artifacts(artifact.path.parent).sha256(release_id(1)) is None


def test_packing_that_fails_leaves_nothing_and_keeps_the_build(tmp_path: Path, layout: Layout) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.directory.mkdir()
    build(layout, 1)
    with pytest.raises(WebappsError, match=r"tar .* failed: disk full"):
        pack(Recorder(Finished(2, "", "disk full")), layout, artifacts, description(1))
    assert list(artifacts.directory.iterdir()) == []
    assert layout.release(release_id(1)).is_dir()
    assert not is_complete(layout, release_id(1))


def test_packing_what_was_never_built_is_refused(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(WebappsError, match="build the release first"):
        pack(run, layout, Artifacts(tmp_path), description(1))


# staging


def test_a_staged_release_is_whole_described_and_recorded(tmp_path: Path, layout: Layout) -> None:
    done = staged(layout, 1, packed(tmp_path, 1))
    tree = layout.release(release_id(1))
    assert (tree / "config/wsgi.py").read_text() == "release = 1\n"
    assert (tree / ".venv/python").readlink() == Path("/usr/bin/python3")
    assert read_description(tree, release_id(1)) == description(1)
    entry = ledger.load(layout.ledger).releases[release_id(1)]
    assert (entry.state, entry.version, entry.staged_at) == ("staged", "v1", NOW)
    assert done.unpacked
    assert [step.split()[0] for step in done.steps] == ["unpack", "add", "record"]


def test_the_group_may_read_a_release_and_only_its_owner_may_write(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1))
    tree = layout.release(release_id(1))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [tree, *tree.rglob("*")] if not path.is_symlink()}
    assert modes[tree] == modes[tree / "config"] == modes[tree / "manage.py"] == 0o750
    assert modes[tree / "config/wsgi.py"] == modes[tree / "RELEASE.json"] == 0o640
    assert [path for path, mode in modes.items() if mode & 0o022] == []
    assert {path.lstat().st_gid for path in tree.rglob("*")} == {os.getegid()}


def test_staging_again_changes_nothing(tmp_path: Path, layout: Layout) -> None:
    artifact = packed(tmp_path, 1)
    staged(layout, 1, artifact)
    before = tree_of(layout.root)
    assert staged(layout, 1, None) == Staged([], unpacked=False)
    assert staged(layout, 1, artifact) == Staged([], unpacked=False)
    assert tree_of(layout.root) == before


@pytest.mark.parametrize("state", ["live", "good", "bad"])
def test_staging_again_does_not_forget_what_the_ledger_knows(tmp_path: Path, layout: Layout, state: str) -> None:
    staged(layout, 1, packed(tmp_path, 1))
    known = ledger.load(layout.ledger)
    known = ledger.mark_bad(known, release_id(1), reason="x") if state == "bad" else known
    known = ledger.mark_live(known, release_id(1), now=NOW) if state != "bad" else known
    if state == "good":
        known = ledger.record_staged(known, release_id(2), version="v2", commit="c", now=NOW)
        known = ledger.mark_live(known, release_id(2), now=NOW)
    ledger.save(layout.ledger, known)
    staged(layout, 1, None)
    assert ledger.load(layout.ledger).releases[release_id(1)].state == state


def test_a_release_that_the_ledger_lost_is_recorded_again(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1))
    layout.ledger.unlink()
    assert staged(layout, 1, None).steps == [f"record {release_id(1)} as staged in {layout.ledger}"]
    assert release_id(1) in ledger.load(layout.ledger).releases


def test_a_damaged_artifact_is_refused_before_anything_is_unpacked(tmp_path: Path, layout: Layout) -> None:
    artifact = packed(tmp_path, 1)
    content = bytearray(artifact.path.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.path.write_bytes(content)
    before = tree_of(layout.root)
    with pytest.raises(WebappsError) as failure:
        staged(layout, 1, artifact)
    assert "is damaged" in failure.value.message
    assert artifact.sha256 in failure.value.message
    assert "app_release_cache" in failure.value.message
    assert tree_of(layout.root) == before


def test_an_artifact_that_is_missing_or_not_named_is_refused(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(WebappsError, match="is missing: build the release"):
        staged(layout, 1, Artifact(tmp_path / "none.tar.zst", "0" * 64))
    with pytest.raises(WebappsError, match="give its artifact"):
        staged(layout, 1, None)


def test_the_artifact_of_another_release_is_refused_and_does_not_count(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(WebappsError, match=f"says that this is the release {release_id(1)}"):
        staged(layout, 2, packed(tmp_path, 1))
    assert not is_complete(layout, release_id(2))
    assert listing(layout)["releases"] == []
    assert list(layout.static.iterdir()) == []


def test_an_artifact_of_another_platform_is_refused(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(WebappsError, match=r"built on debian-13-x86_64 and this host is debian-12-x86_64"):
        staged(layout, 1, packed(tmp_path, 1, platform="debian-13-x86_64"))
    assert not is_complete(layout, release_id(1))


def test_a_full_disk_is_refused_before_unpacking(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = packed(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 50 * 2**20))  # type: ignore[attr-defined]
    with pytest.raises(WebappsError, match=r"has 50 MB free.*app_release_keep"):
        staged(layout, 1, artifact)
    assert list(layout.releases.iterdir()) == []


def test_the_artifact_says_how_much_room_it_needs(tmp_path: Path) -> None:
    artifact = packed(tmp_path, 1, {"zeros": "0" * 3_000_000})
    assert artifact.path.stat().st_size < 100_000
    assert 3_000_000 < staging.unpacked_size(run, artifact.path) < 3_200_000


def test_an_artifact_that_does_not_say_so_is_estimated(tmp_path: Path) -> None:
    path = tmp_path / "piped.tar.zst"
    path.write_bytes(b"0" * 1000)
    assert staging.unpacked_size(Recorder(Finished(1, "", "not zstd")), path) == 6000


def test_what_a_killed_call_left_is_removed(tmp_path: Path, layout: Layout) -> None:
    rest = layout.releases / f".{release_id(1)}.partial"
    (rest / "old").mkdir(parents=True)
    (rest / "old/file").touch()
    staged(layout, 1, packed(tmp_path, 1))
    assert [path.name for path in layout.releases.iterdir()] == [release_id(1)]
    assert not (layout.release(release_id(1)) / "old").exists()


def test_what_a_killed_build_left_in_the_place_is_replaced(tmp_path: Path, layout: Layout) -> None:
    build(layout, 1)
    (layout.release(release_id(1)) / "half").touch()
    building_mark(layout, release_id(1)).touch()
    staged(layout, 1, packed(tmp_path, 1))
    assert [path.name for path in layout.releases.iterdir()] == [release_id(1)]
    assert not (layout.release(release_id(1)) / "half").exists()


def test_a_call_that_dies_before_the_rename_leaves_nothing_that_counts(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = packed(tmp_path, 1)

    def dies(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies)
        with pytest.raises(KeyboardInterrupt):
            staged(layout, 1, artifact)
    assert not is_complete(layout, release_id(1))
    assert listing(layout)["releases"] == []
    staged(layout, 1, artifact)
    assert [path.name for path in layout.releases.iterdir()] == [release_id(1)]


@pytest.mark.parametrize("name", ["../../etc", "", "abc", "0000000001-0000000G", f"{release_id(1)}/.."])
def test_a_name_that_is_no_release_id_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(WebappsError, match="is no release id"):
        stage(run, layout, Staging(name, None, os.getegid(), PLATFORM, NOW), check=False)


def test_a_torn_ledger_stops_staging(tmp_path: Path, layout: Layout) -> None:
    layout.ledger.write_text("{")
    with pytest.raises(WebappsError, match="is no ledger"):
        staged(layout, 1, packed(tmp_path, 1))


# check mode


def test_check_mode_says_what_it_would_do_and_does_nothing(tmp_path: Path, layout: Layout) -> None:
    artifact = packed(tmp_path, 1)
    before = tree_of(layout.root)
    for given in (artifact, None, Artifact(tmp_path / "not-yet", "0" * 64)):
        done = staged(layout, 1, given, check=True)
        assert done.unpacked
        assert [step.split()[0] for step in done.steps] == ["unpack", "record"]
    assert tree_of(layout.root) == before


def test_check_mode_on_a_bare_host_works(tmp_path: Path) -> None:
    assert staged(Layout(tmp_path / "bare.example.org"), 1, None, check=True).unpacked


def test_check_mode_refuses_a_damaged_artifact_too(tmp_path: Path, layout: Layout) -> None:
    artifact = packed(tmp_path, 1)
    with pytest.raises(WebappsError, match="is damaged"):
        staged(layout, 1, Artifact(artifact.path, "0" * 64), check=True)


def test_check_mode_counts_static_files_that_are_missing(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1))
    (layout.static / "app.css").unlink()
    assert staged(layout, 1, None, check=True).steps == [f"add 1 files to {layout.static}"]
    assert not (layout.static / "app.css").exists()


# static files


def test_static_files_of_all_releases_are_served_together(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1, {"css/app.111.css": "old", "css/app.css": "old"}))
    staged(layout, 2, packed(tmp_path, 2, {"css/app.222.css": "new", "css/app.css": "new"}))
    assert {name: text for name, (_mode, text) in tree_of(layout.static).items()} == {
        "css": b"",
        "css/app.111.css": b"old",
        "css/app.222.css": b"new",
        "css/app.css": b"new",
    }


def test_everybody_may_read_static_files(tmp_path: Path, layout: Layout) -> None:
    previous = os.umask(0o077)
    try:
        staged(layout, 1, packed(tmp_path, 1, {"deep/er/app.css": "x"}))
    finally:
        os.umask(previous)
    modes = {name: stat.S_IMODE(mode) for name, (mode, _text) in tree_of(layout.static).items()}
    assert modes == {"deep": 0o755, "deep/er": 0o755, "deep/er/app.css": 0o644}


def test_a_static_file_that_is_there_with_the_same_content_is_not_touched(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1, {"app.111.css": "same"}))
    before = (layout.static / "app.111.css").stat().st_ino
    steps = staged(layout, 2, packed(tmp_path, 2, {"app.111.css": "same"})).steps
    assert (layout.static / "app.111.css").stat().st_ino == before
    assert not [step for step in steps if step.startswith("add")]


def test_static_files_survive_the_release_that_brought_them(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1, {"app.111.css": "x"}))
    shutil.rmtree(layout.release(release_id(1)))
    assert (layout.static / "app.111.css").read_text() == "x"


def test_static_files_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(*_arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    staged(layout, 1, packed(tmp_path, 1, {"app.css": "x"}))
    assert (layout.static / "app.css").read_text() == "x"


def test_an_application_without_static_files_is_staged(tmp_path: Path, layout: Layout) -> None:
    staged(layout, 1, packed(tmp_path, 1, static_dir=""))
    assert list(layout.static.iterdir()) == []


def test_a_release_without_the_static_directory_it_names_is_refused_with_the_variable(
    tmp_path: Path, layout: Layout
) -> None:
    with pytest.raises(WebappsError, match=r"no directory public.*app_release_static_dir"):
        staged(layout, 1, packed(tmp_path, 1, static_dir="public"))
    assert not is_complete(layout, release_id(1))


def test_a_static_file_that_leads_out_of_the_release_is_refused(tmp_path: Path, layout: Layout) -> None:
    builder, artifacts = host(tmp_path, "builder.example.org"), Artifacts(tmp_path)
    (build(builder, 1) / "staticfiles/secrets.txt").symlink_to("/etc/passwd")
    digest = pack(run, builder, artifacts, description(1))
    with pytest.raises(WebappsError, match=r"links to what is outside of it: secrets\.txt"):
        staged(layout, 1, Artifact(artifacts.path(release_id(1)), digest))
    assert list(layout.static.iterdir()) == []


# listing


def test_releases_are_listed_with_what_is_live_and_what_was_good(tmp_path: Path, layout: Layout) -> None:
    for number in (1, 2):
        staged(layout, number, packed(tmp_path, number))
        ledger.save(layout.ledger, ledger.mark_live(ledger.load(layout.ledger), release_id(number), now=NOW))
    layout.repo.symlink_to(f"releases/{release_id(2)}")
    found = listing(layout)
    assert [(entry["id"], entry["state"], entry["version"]) for entry in found["releases"]] == [
        (release_id(1), "good", "v1"),
        (release_id(2), "live", "v2"),
    ]
    assert (found["live"], found["last_good"]) == (release_id(2), release_id(1))


def test_a_release_whose_directory_is_gone_or_unfinished_is_not_listed(tmp_path: Path, layout: Layout) -> None:
    for number in (1, 2):
        staged(layout, number, packed(tmp_path, number))
    shutil.rmtree(layout.release(release_id(1)))
    (layout.release(release_id(2)) / "RELEASE.json").unlink()
    assert listing(layout)["releases"] == []


def test_a_bare_host_has_no_releases(tmp_path: Path) -> None:
    nothing = {"live": None, "environment": None, "last_good": None}
    assert listing(Layout(tmp_path / "bare")) == {"releases": [], **nothing}


def test_a_directory_named_repo_is_not_taken_for_a_live_release(layout: Layout) -> None:
    layout.repo.mkdir()
    assert linked_release(layout) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', "\x00"])
def test_a_release_that_does_not_describe_itself_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "RELEASE.json").write_text(text)
    with pytest.raises(WebappsError, match="does not describe a release"):
        read_description(tmp_path, release_id(1))


def test_a_description_without_static_directory_means_the_usual_one(tmp_path: Path) -> None:
    fields = json.loads(description(1).text())
    del fields["static_dir"]
    (tmp_path / "RELEASE.json").write_text(json.dumps(fields))
    assert read_description(tmp_path, release_id(1)).static_dir == "staticfiles"
