"""Hooks that cannot run are named before anything changes; those that can are found where the inventory says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_hooks import files, problems

GOOD = "- name: Tell\n  ansible.builtin.debug:\n    msg: hello\n"


@pytest.fixture(scope="module", autouse=True)
def modules() -> None:
    """As ansible-playbook begins: from then on modules are found."""
    init_plugin_loader([str(Path(__file__).parents[4] / ".collections")])


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "production").mkdir()
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/tell.yml").write_text(GOOD)
    (tmp_path / "hosts.yml").write_text("all:\n")
    return tmp_path


def one_problem(hooks: Any, *sources: Path) -> str:
    [found] = problems(hooks, [str(source) for source in sources])
    return found


def test_a_relative_path_begins_at_the_inventorys_directory(inventory: Path) -> None:
    hooks = {"before_migrate": ["../hooks/tell.yml"], "after_migrate": []}
    assert problems(hooks, [str(inventory / "production")]) == []
    [path] = files(hooks, "before_migrate", [str(inventory / "production")])
    assert Path(path).samefile(inventory / "hooks/tell.yml")
    [path] = files({"on_failure": ["hooks/tell.yml"]}, "on_failure", [str(inventory / "hosts.yml")])
    assert Path(path).samefile(inventory / "hooks/tell.yml")
    assert files(hooks, "before_build", []) == []


def test_the_first_inventory_that_has_the_file_counts_and_an_absolute_path_needs_none(inventory: Path) -> None:
    sources = ["web-1,", str(inventory / "production"), str(inventory / "hosts.yml")]
    assert problems({"before_build": ["hooks/tell.yml"]}, sources) == []
    assert problems({"before_build": [str(inventory / "hooks/tell.yml")]}, ["web-1,"]) == []


def test_what_is_no_dictionary_of_lists_is_refused(inventory: Path) -> None:
    assert "deploy_hooks is a list" in one_problem(["a.yml"], inventory)
    assert "deploy_hooks.before_build is text: give a list" in one_problem(
        {"before_build": "hooks/tell.yml"}, inventory
    )
    assert "deploy_hooks.before_build is empty" in one_problem({"before_build": None}, inventory)


def test_a_name_that_is_no_hook_is_refused_with_the_one_that_may_be_meant(inventory: Path) -> None:
    said = one_problem({"before_migrations": ["hooks/tell.yml"]}, inventory)
    assert '"before_migrations", which is no hook; before_migrate may be meant' in said
    assert "after_roll_web" in said


def test_a_file_that_is_missing_is_refused_with_where_it_was_looked_for(inventory: Path) -> None:
    said = one_problem({"before_build": ["hooks/missing.yml"]}, inventory)
    assert f"{inventory}/hooks/missing.yml" in said
    assert "has no directory" in problems({"before_build": ["hooks/missing.yml"]}, ["web-1,"])[0]
    with pytest.raises(WebappsError, match=r"missing\.yml"):
        files({"before_build": ["hooks/missing.yml"]}, "before_build", [str(inventory)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no list of tasks but empty"),
        ("a: b\n", "no list of tasks but a dictionary"),
        ("- a: [\n", "cannot be read as YAML"),
        ("- tell\n", "entry 1, is no task but text"),
        ("- hosts: all\n  tasks: []\n", "entry 1, is a play"),
        ("- ansible.builtin.import_playbook: site.yml\n", "entry 1, is a play"),
        (GOOD + "- name: Tell more\n", 'entry 2, "Tell more"'),
        (GOOD + "- name: Misspelt\n  ansible.builtin.debugg:\n    msg: hello\n", 'entry 2, "Misspelt"'),
        ("- name: Two\n  ansible.builtin.debug:\n  ansible.builtin.ping:\n", 'entry 1, "Two"'),
        ("- block:\n    - name: Inner\n      nonsense: 1\n", 'entry 1, block, entry 1, "Inner"'),
    ],
)
def test_a_file_that_is_no_list_of_tasks_is_refused(inventory: Path, content: str, words: str) -> None:
    (inventory / "hooks/bad.yml").write_text(content)
    said = one_problem({"before_build": ["hooks/bad.yml"]}, inventory)
    assert words in said
    assert "deploy_hooks.before_build" in said
    assert f"{inventory}/hooks/bad.yml" in said
    assert "\n" not in said


def test_what_a_broken_file_says_is_not_shown(inventory: Path) -> None:
    (inventory / "hooks/bad.yml").write_text("- name: Log in\n  password: hunter2\n  a: [\n")
    assert "hunter2" not in one_problem({"before_build": ["hooks/bad.yml"]}, inventory)


@pytest.mark.parametrize(
    "content",
    [
        "[]\n",
        "- ansible.builtin.include_tasks: other.yml\n",
        "- name: Log in\n  ansible.builtin.uri:\n    url: '{{ address }}'\n  when: yes_please\n  no_log: true\n",
        "- block:\n    - ansible.builtin.ping:\n  rescue:\n    - ansible.builtin.ping:\n",
        "- ansible.builtin.debug:\n    msg: !unsafe '{{'\n",
        "- ansible.builtin.ping:\n  vars:\n    secret: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      61\n",
        "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
    ],
)
def test_what_ansible_takes_for_tasks_is_taken(inventory: Path, content: str) -> None:
    (inventory / "hooks/good.yml").write_text(content)
    assert problems({"before_build": ["hooks/good.yml"]}, [str(inventory)]) == []
