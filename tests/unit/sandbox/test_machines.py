"""The description of the fleet agrees with those who know its addresses by heart."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from sandbox.aws.account import ZONES
from sandbox.fleet import AWS, BALANCER, DOMAIN, ROOT, WEB_HOSTS

FLEET: dict[str, Any] = yaml.safe_load((ROOT / "sandbox/vars/fleet.yml").read_text())
ROLLING: list[dict[str, Any]] = FLEET["sandbox_fleets"]["rolling"]
ADDRESSES = {machine["name"]: machine["address"] for machine in ROLLING}
SINGLE = {machine["name"]: machine["address"] for machine in FLEET["sandbox_fleets"]["single"]}
PLACES: list[dict[str, Any]] = FLEET["sandbox_places"]


def inventory_text(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_web_hosts_are_where_the_tests_look_for_them() -> None:
    web = {machine["name"]: machine["address"] for machine in ROLLING if "web" in machine.get("roles", [])}
    assert web == WEB_HOSTS


def test_the_balancer_the_endpoint_and_the_domain_are_where_the_tests_look_for_them() -> None:
    assert ADDRESSES["aws"] == BALANCER
    assert FLEET["sandbox_aws_environment"] == AWS
    assert FLEET["sandbox_domain"] == DOMAIN


def test_the_inventories_name_addresses_of_the_fleet() -> None:
    sandbox = inventory_text("inventories/sandbox/group_vars/all.yml")
    for machine in ("aws", "db-1", "worker-1"):
        assert ADDRESSES[machine] in sandbox
    assert SINGLE["single"] in inventory_text("molecule/single/inventory/hosts.yml")
    for machine in ("single-db", "single-repository"):
        assert SINGLE[machine] in inventory_text("molecule/single/inventory/group_vars/all/single.yml")


@pytest.mark.parametrize("fleet", FLEET["sandbox_fleets"])
def test_every_service_has_the_tasks_that_set_it_up(fleet: str) -> None:
    for machine in FLEET["sandbox_fleets"][fleet]:
        for service in machine.get("provides", []):
            assert (ROOT / f"sandbox/tasks/{service}.yml").is_file()


def test_every_fleet_has_one_place() -> None:
    assert sorted(fleet for place in PLACES for fleet in place["fleets"]) == sorted(FLEET["sandbox_fleets"])


def test_a_machine_has_one_address_in_all_fleets_of_its_place() -> None:
    for machines in (FLEET["sandbox_fleets"][fleet] for place in PLACES for fleet in place["fleets"]):
        assert {machine["name"]: machine["address"] for machine in machines}.items() <= (ADDRESSES | SINGLE).items()


def test_fleets_in_different_places_share_nothing() -> None:
    for share in ("network", "subnet", "gateway", "state"):
        assert len({place[share] for place in PLACES}) == len(PLACES)
    assert not ADDRESSES.keys() & SINGLE.keys()


def test_every_address_is_free_and_in_its_zone() -> None:
    assert len(set(ADDRESSES.values())) == len(ROLLING)
    for place in PLACES:
        machines = [machine for fleet in place["fleets"] for machine in FLEET["sandbox_fleets"][fleet]]
        assert all(ip_address(machine["address"]) in ip_network(place["subnet"]) for machine in machines)
    assert all(ip_address(machine["address"]) in ZONES[machine["zone"]] for machine in ROLLING if "zone" in machine)
