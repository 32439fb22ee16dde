"""Every role says the same thing in defaults, argument_specs and README, and has what a role must have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.variables_table import options_of, with_table

ROOT = Path(__file__).parent.parent.parent
# Roles that only look at what others did, and the fleet scenario that shows it.
SCENARIO_OF = {"deploy": "rolling"}
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(params=ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_a_role_has_readme_defaults_meta_argument_specs_and_tasks(role: Path) -> None:
    parts = ["README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks"]
    assert [part for part in parts if not (role / part).exists()] == []


def test_every_default_is_an_argument_and_every_optional_argument_has_its_default(role: Path) -> None:
    defaults = load(role / "defaults/main.yml") or {}
    options = options_of(load(role / "meta/argument_specs.yml"))
    optional = {name: option.get("default") for name, option in options.items() if not option.get("required")}
    assert optional == defaults


def test_every_input_carries_the_role_name(role: Path) -> None:
    options = options_of(load(role / "meta/argument_specs.yml"))
    assert [name for name in options if not name.startswith(f"{role.name}_")] == []


def test_every_entry_point_has_a_task_file_and_the_reverse_holds_for_main(role: Path) -> None:
    entry_points = load(role / "meta/argument_specs.yml")["argument_specs"]
    assert [name for name in entry_points if not (role / f"tasks/{name}.yml").exists()] == []
    assert "main" in entry_points or not (role / "tasks/main.yml").exists()


def test_the_table_in_the_readme_is_fresh(role: Path) -> None:
    readme = (role / "README.md").read_text()
    assert with_table(readme, load(role / "meta/argument_specs.yml")) == readme


def test_the_readme_shows_two_examples(role: Path) -> None:
    assert (role / "README.md").read_text().count("```yaml") >= 2


def test_every_role_has_a_molecule_scenario(role: Path) -> None:
    assert (ROOT / "molecule" / SCENARIO_OF.get(role.name, role.name) / "molecule.yml").exists()


def test_no_role_knows_an_inventory_group(role: Path) -> None:
    for path in role.rglob("*"):
        if path.is_file() and path.suffix in {".yml", ".j2"}:
            assert "groups[" not in path.read_text(), path
