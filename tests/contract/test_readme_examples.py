"""What READMEs show can be copied: Ansible reads it, and it sets no variable that a role does not know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.variables_table import options_of

ROOT = Path(__file__).parent.parent.parent
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
INPUTS = {name for role in ROLES for name in options_of(yaml.safe_load((role / "meta/argument_specs.yml").read_text()))}
ROLE_PREFIX = re.compile(rf"^({'|'.join(role.name for role in ROLES)})_")


class Loader(yaml.SafeLoader):
    """Reads what only ansible-vault can open as the text that it is."""


Loader.add_constructor("!vault", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]


def examples(readme: Path) -> list[list[dict[str, Any]]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    loaded = [yaml.load(block, Loader) for block in blocks]
    return [block for block in loaded if isinstance(block, list)]


def as_plays(example: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A playbook as it is, and a list of tasks as a play of it."""
    if all("hosts" in entry or "ansible.builtin.import_playbook" in entry for entry in example):
        return example
    return [{"name": "Example", "hosts": "all", "tasks": example}]


def variables(node: object) -> Iterator[str]:
    """The names in every `vars:` of a playbook, however deep."""
    if isinstance(node, dict):
        yield from (node.get("vars") or {})
        for value in node.values():
            yield from variables(value)
    elif isinstance(node, list):
        for value in node:
            yield from variables(value)


def test_ansible_reads_every_example(tmp_path: Path) -> None:
    for role in ROLES:
        for number, example in enumerate(examples(role / "README.md")):
            (tmp_path / f"{role.name}_{number}.yml").write_text(yaml.safe_dump(as_plays(example), sort_keys=False))
    imports = [{"ansible.builtin.import_playbook": path.name} for path in sorted(tmp_path.glob("*.yml"))]
    (tmp_path / "all.yml").write_text(yaml.safe_dump(imports))
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "--syntax-check",
        "-i",
        "localhost,",
        tmp_path / "all.yml",
    ]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_an_example_sets_only_variables_that_roles_know(role: Path) -> None:
    named = {name for example in examples(role / "README.md") for name in variables(example)}
    assert {name for name in named if ROLE_PREFIX.match(name)} - INPUTS == set()
