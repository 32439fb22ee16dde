"""What the module reports and does, in both modes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.certificates import Place, read
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import run_here
from ansible_collections.carpentries.webapps.plugins.modules.placeholder_certificate import run

NOW = 0.0


@pytest.mark.parametrize("check", [True, False])
def test_a_certificate_is_made_where_there_is_none_but_not_in_check_mode(check: bool, tmp_path: Path) -> None:
    place = Place(tmp_path / "amy.pem", ("amy.example.org",))
    result = run(run_here, place, None, NOW, check)
    assert (result["changed"], place.path.exists()) == (True, not check)
    assert "amy.example.org" in result["diff"]["after"]


@pytest.mark.parametrize("check", [True, False])
def test_what_is_there_is_left_alone(check: bool, tmp_path: Path) -> None:
    place = Place(tmp_path / "amy.pem", ("amy.example.org",))
    run(run_here, place, tmp_path / "nothing", NOW, check=False)
    before = read(run_here, place.path)
    assert run(run_here, place, None, NOW, check) == {"changed": False, "path": str(place.path)}
    assert read(run_here, place.path) == before
