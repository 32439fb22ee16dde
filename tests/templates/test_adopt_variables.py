"""What adoption is told of Redis, by the playbooks' own variables."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.templates.render import ROOT, trusted

# printf letmein | sha256sum
LETMEIN = "1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032"


def told(host: str, **redis: Any) -> Any:
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    known = shared | {
        "inventory_hostname": host,
        "groups": {"redis": ["redis-1"]},
        "hostvars": {"redis-1": {"inventory_hostname": "redis-1", "webapps_address": "10.0.1.21", **redis}},
    }
    variables = {name: trusted(value) for name, value in known.items()}
    return Templar(loader=DataLoader(), variables=variables).template(trusted("{{ adopt_redis }}"))


@pytest.mark.parametrize(("host", "here"), [("redis-1", True), ("web-1", False)])
def test_redis_is_told_as_its_host_will_have_it(host: str, here: bool) -> None:
    bound = {"redis_mode": "shared", "redis_bind": ["10.0.1.21"], "redis_former_passwords": ["before"]}
    seen = told(host, redis_password="letmein", **bound)
    assert (seen["here"], seen["bind"], seen["names"]) == (here, ["10.0.1.21"], ["redis-1", "10.0.1.21"])
    assert seen["digests"][0] == LETMEIN
    assert len(seen["digests"]) == 2


def test_without_a_password_nobody_is_asked_for_one() -> None:
    seen = told("redis-1")
    assert (seen["digests"], seen["bind"], seen["port"], seen["user"]) == ([], [], 6379, "webapps")


def test_of_a_redis_that_is_elsewhere_nothing_is_told() -> None:
    assert told("web-1", redis_mode="external") == {}
