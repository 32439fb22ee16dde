"""Every release sees what the application stores, and none hides files of its own by that."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.shared_directories import checked, link

from tests.unit.plugins.release_support import host, release_id


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return host(tmp_path)


@pytest.fixture
def tree(layout: Layout) -> Path:
    path = layout.release(release_id(1))
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["media", "amy/media"])
def test_a_release_sees_the_shared_directory(layout: Layout, tree: Path, name: str) -> None:
    (layout.shared / name).mkdir(parents=True)
    (layout.shared / name / "photo.jpg").touch()
    link(layout, tree, [name])
    assert (tree / name / "photo.jpg").is_file()
    assert not (tree / name).readlink().is_absolute()


def test_the_link_holds_while_the_release_is_unpacked_under_another_name(layout: Layout, tree: Path) -> None:
    layout.shared.joinpath("media").mkdir(parents=True)
    link(layout, tree, ["media"])
    moved = tree.rename(layout.releases / ".half.partial")
    assert (moved / "media").resolve() == layout.shared / "media"


def test_an_empty_directory_that_git_keeps_makes_room(layout: Layout, tree: Path) -> None:
    (tree / "media/photos").mkdir(parents=True)
    (tree / "media/photos/.gitkeep").touch()
    link(layout, tree, ["media"])
    assert (tree / "media").is_symlink()


def test_files_of_the_source_are_not_hidden_but_refused_by_name(layout: Layout, tree: Path) -> None:
    (tree / "media").mkdir()
    for number in range(7):
        (tree / f"media/{number}.jpg").touch()
    with pytest.raises(WebappsError, match=r"files in media .*0\.jpg, 1\.jpg.* and 2 more"):
        link(layout, tree, ["media"])
    assert (tree / "media/0.jpg").is_file()


def test_a_file_or_a_link_of_that_name_is_refused(layout: Layout, tree: Path) -> None:
    (tree / "media").symlink_to("/etc")
    with pytest.raises(WebappsError, match="not as a directory"):
        link(layout, tree, ["media"])


def test_a_link_on_the_way_there_is_not_followed(layout: Layout, tree: Path, tmp_path: Path) -> None:
    (tree / "amy").symlink_to(tmp_path)
    with pytest.raises(WebappsError, match=r"has amy as a link"):
        link(layout, tree, ["amy/media"])
    assert not (tmp_path / "media").exists()


@pytest.mark.parametrize("name", ["", ".", "/srv/media", "../media", "media/../../x", ".venv", ".venv/share"])
def test_what_is_no_directory_within_the_source_is_refused(name: str) -> None:
    with pytest.raises(WebappsError, match="relative to the source"):
        checked([name])


def test_one_within_the_other_is_refused() -> None:
    with pytest.raises(WebappsError, match=r"media and media/photos, one within the other"):
        checked(["media", "media/photos"])
