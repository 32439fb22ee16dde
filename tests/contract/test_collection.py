"""galaxy.yml, requirements.yml, playbooks and modules agree with each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
LOOKUPS = sorted({path.stem for path in (ROOT / "plugins/lookup").iterdir() if path.suffix in {".py", ".yml"}})
MODULES = sorted(path for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")


def test_requirements_are_the_collections_dependencies() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    requirements = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in requirements} == galaxy


def test_the_link_that_makes_names_resolve_points_at_this_checkout() -> None:
    assert (ROOT / ".collections/ansible_collections/carpentries/webapps").resolve() == ROOT.resolve()


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_a_playbook_has_valid_syntax(playbook: Path) -> None:
    command = [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", "localhost,", playbook]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_a_playbooks_name_can_be_called_by_its_full_name(playbook: Path) -> None:
    assert playbook.stem.isidentifier()


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_a_lookup_documents_itself(lookup: str) -> None:
    command = [Path(sys.executable).with_name("ansible-doc"), "--type", "lookup", f"carpentries.webapps.{lookup}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    assert "EXAMPLES:" in result.stdout
    assert "RETURN VALUES:" in result.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_documents_itself(module: Path) -> None:
    command = [Path(sys.executable).with_name("ansible-doc"), f"carpentries.webapps.{module.stem}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    assert "EXAMPLES:" in result.stdout
    assert "RETURN VALUES:" in result.stdout
