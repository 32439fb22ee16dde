"""galaxy.yml, requirements.yml, playbooks and modules agree with each other."""

from __future__ import annotations

import json
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
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")


def test_requirements_are_the_collections_dependencies() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    requirements = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in requirements} == galaxy


def test_the_link_that_makes_names_resolve_points_at_this_checkout() -> None:
    assert (ROOT / ".collections/ansible_collections/carpentries/webapps").resolve() == ROOT.resolve()


def test_playbooks_have_valid_syntax() -> None:
    # All in one call, as below: each takes a second to start.
    command = [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", "localhost,", *PLAYBOOKS]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_a_playbooks_name_can_be_called_by_its_full_name(playbook: Path) -> None:
    assert playbook.stem.isidentifier()


@pytest.mark.parametrize(("kind", "names"), [("lookup", LOOKUPS), ("module", MODULES)], ids=["lookups", "modules"])
def test_every_plugin_that_is_called_by_name_documents_itself(kind: str, names: list[str]) -> None:
    wanted = [f"carpentries.webapps.{name}" for name in names]
    command = [Path(sys.executable).with_name("ansible-doc"), "--json", "--type", kind, *wanted]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    documented = json.loads(result.stdout)
    assert set(documented) == set(wanted), result.stderr
    assert [name for name, parts in documented.items() if not (parts.get("examples") and parts.get("return"))] == []
