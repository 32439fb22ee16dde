"""Debian's default site goes, and a site that somebody put in its place stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.nginx_default_site import Places, remove

PACKAGED = b"server { listen 80 default_server; }\n"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """nginx as Debian's package leaves it."""
    found = Places(*(tmp_path / name for name in ("sites-enabled/default", "sites-available/default", "status")))
    for directory in (found.enabled.parent, found.packaged.parent):
        directory.mkdir()
    found.packaged.write_bytes(PACKAGED)
    found.enabled.symlink_to(found.packaged)
    digest = hashlib.md5(PACKAGED, usedforsecurity=False).hexdigest()
    found.packages.write_text(
        f"Package: nginx-common\nConffiles:\n /etc/nginx/nginx.conf {'a' * 32}\n"
        f" /etc/nginx/sites-available/default {digest}\n"
    )
    return found


@pytest.mark.parametrize("check", [True, False])
def test_debians_own_is_removed_but_not_in_check_mode(places: Places, check: bool) -> None:
    assert remove(places, check=check)
    assert places.enabled.is_symlink() is check
    assert places.packaged.exists()


def test_where_there_is_none_nothing_changes(places: Places) -> None:
    places.enabled.unlink()
    assert not remove(places, check=False)


def test_a_link_to_nothing_is_removed(places: Places) -> None:
    places.packaged.unlink()
    assert remove(places, check=False)
    assert not places.enabled.is_symlink()


def edit(places: Places) -> None:
    places.packaged.write_bytes(PACKAGED + b"server { server_name shop.example.org; }\n")


def link_elsewhere(places: Places) -> None:
    places.enabled.unlink()
    (places.packaged.parent / "shop").write_bytes(PACKAGED)
    places.enabled.symlink_to(places.packaged.parent / "shop")


def write_a_file(places: Places) -> None:
    places.enabled.unlink()
    places.enabled.write_bytes(PACKAGED)


def forget_the_package(places: Places) -> None:
    places.packages.unlink()


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("change", [edit, link_elsewhere, write_a_file, forget_the_package])
def test_somebodys_own_is_refused_by_name_and_stays(
    places: Places, change: Callable[[Places], None], check: bool
) -> None:
    change(places)
    with pytest.raises(WebappsError, match=r"(?s)sites-enabled/default.*Nothing was changed.*`mv .*/NAME`"):
        remove(places, check=check)
    assert places.enabled.exists()
