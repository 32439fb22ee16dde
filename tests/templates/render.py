"""Render a role's template without a host: with its defaults, its vars, and what a test gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parent.parent.parent
# What an inventory says in real life.
SHARED = ROOT / "molecule/shared/vars.yml"


def trusted(value: Any) -> Any:
    """The value with every text in it a template, as in variables that Ansible reads from files."""
    if isinstance(value, dict):
        return {key: trusted(part) for key, part in value.items()}
    if isinstance(value, list):
        return [trusted(part) for part in value]
    return trust_as_template(value) if isinstance(value, str) else value


def variables(role: str, **given: Any) -> dict[str, Any]:
    """All variables a role's templates see; those given win over the role's own."""
    found: dict[str, Any] = {"ansible_managed": "Ansible managed", "ansible_check_mode": False}
    for path in (SHARED, ROOT / f"roles/{role}/defaults/main.yml", ROOT / f"roles/{role}/vars/main.yml"):
        if path.exists():
            found |= yaml.safe_load(path.read_text()) or {}
    return {name: trusted(value) for name, value in (found | given).items()}


def render(role: str, template: str, **given: Any) -> str:
    """The text of ``roles/<role>/templates/<template>``, as the template module would write it."""
    path = ROOT / f"roles/{role}/templates/{template}"
    templar = Templar(loader=DataLoader(), variables=variables(role, **given))
    text = templar.copy_with_new_env(searchpath=[str(path.parent)]).template(
        trust_as_template(path.read_text()), escape_backslashes=False, preserve_trailing_newlines=True
    )
    return str(text)


def value(role: str, name: str, **given: Any) -> Any:
    """What a variable of the role comes to."""
    return Templar(loader=DataLoader(), variables=variables(role, **given)).template(
        trust_as_template("{{ " + name + " }}")
    )
