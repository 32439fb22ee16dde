"""Which inputs are secrets is said in one place, argument_specs' `no_log`, and each of them is a canary in a fleet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.canary import SecretInput, marked, secret_inputs

ROOT = Path(__file__).parent.parent.parent
NAMES = re.compile(r"(^|_)(pass(word|phrase)?s?|secrets?|tokens?|keys?|credentials?)$")
WORDS = re.compile(r"\b(is a secret|a secret\.|are secrets|holds secrets)", re.IGNORECASE)
SANDBOX: dict[str, Any] = yaml.safe_load((ROOT / "inventories/sandbox/group_vars/all.yml").read_text())
PLAYED = "".join(path.read_text() for path in sorted((ROOT / "playbooks").glob("*.yml")))
CANARIES = yaml.safe_load((ROOT / "sandbox/vars/canaries.yml").read_text())["sandbox_canary_playbooks"]


def descriptions() -> dict[tuple[str, ...], str]:
    """The description of every input and of every part of one."""
    found: dict[tuple[str, ...], str] = {}

    def collect(above: tuple[str, ...], options: dict[str, Any]) -> None:
        for name, option in options.items():
            found[(*above, name)] = " ".join(str(option["description"]).split())
            collect((*above, name), option.get("options") or {})

    for specs in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry_point in yaml.safe_load(specs.read_text())["argument_specs"].values():
            collect((), entry_point.get("options") or {})
    return found


def from_the_fleets_secrets(name: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether what the sandbox's inventory says for a variable comes, through others maybe, from its secrets."""
    if name in seen or name not in SANDBOX:
        return False
    text = str(SANDBOX[name])
    names = set(re.findall(r"\w+", text))
    return "/secrets/" in text or any(from_the_fleets_secrets(other, seen | {name}) for other in names)


def test_an_input_that_looks_like_a_secret_says_whether_it_is_one() -> None:
    told = descriptions()
    silent = {
        ".".join(given.path)
        for given, no_log in marked().items()
        if no_log is None and given.type != "bool" and (NAMES.search(given.path[-1]) or WORDS.search(told[given.path]))
    }
    assert silent == set(), "say no_log: true, or no_log: false where it is a path, a name or a public key"


@pytest.mark.parametrize("given", secret_inputs(), ids=lambda given: ".".join(given.path))
def test_a_secret_has_a_type_that_ansible_refuses_without_showing_it(given: SecretInput) -> None:
    # "'hunter2' cannot be converted to an int" is an error of Ansible's own.
    assert given.type in {"str", "list", "dict"}


@pytest.mark.parametrize("given", secret_inputs(), ids=lambda given: ".".join(given.path))
def test_every_secret_is_a_canary_in_the_fleet(given: SecretInput) -> None:
    played = re.search(rf"carpentries\.webapps\.{given.role}\b", PLAYED)
    assert not played or from_the_fleets_secrets(given.path[0]) or given.role in CANARIES, (
        f"name a playbook for {given.role} in sandbox/vars/canaries.yml"
    )


def test_the_playbooks_that_get_canaries_exist() -> None:
    assert [name for names in CANARIES.values() for name in names if not (ROOT / name).is_file()] == []
