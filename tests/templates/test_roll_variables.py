"""Which batch of a roll is watched, by the playbooks' own variables."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.templates.render import ROOT, trusted

# As the play takes them.
WEB = ["web-1", "web-2", "web-3"]


def watched(batch: list[str], live: str, changed: bool, **given: Any) -> bool:
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    hosts = {
        name: {"__gunicorn_published": {"changed": changed}, "__deploy_observed": {"live": live[place]}}
        for name, place in zip(WEB, range(3), strict=True)
    }
    known = shared | {
        "hostvars": hosts,
        "ansible_play_batch": batch,
        "ansible_play_hosts_all": WEB,
        "webapps_release": "n",
    }
    variables = {name: trusted(value) for name, value in (known | given).items()}
    return bool(Templar(loader=DataLoader(), variables=variables).template(trusted("{{ roll_is_watched }}")))


@pytest.mark.parametrize(("batch", "first"), [(["web-1"], True), (["web-2"], False), (["web-2", "web-3"], False)])
def test_the_first_batch_is_watched_and_no_other(batch: list[str], first: bool) -> None:
    assert watched(batch, live="ooo", changed=True) is first


def test_the_first_batch_of_a_run_that_was_killed_before_all_had_the_release_is_watched_again() -> None:
    assert watched(["web-1"], live="noo", changed=False)


def test_a_deploy_that_changes_nothing_waits_for_nothing() -> None:
    assert not watched(["web-1"], live="nnn", changed=False)


def test_a_changed_environment_is_watched_like_a_release() -> None:
    assert watched(["web-1"], live="nnn", changed=True)


def test_nobody_is_watched_behind_the_maintenance_page() -> None:
    assert not watched(WEB, live="ooo", changed=True, deploy_maintenance=True)
