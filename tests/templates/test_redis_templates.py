"""Redis's configuration for each switch of the role."""

from __future__ import annotations

import pytest

from tests.templates.render import render, value


def test_redis_is_local_unless_told_otherwise() -> None:
    assert "\nbind 127.0.0.1 -::1\n" in render("redis", "redis.conf.j2")
    assert "\nbind 127.0.0.1 -::1 10.0.1.21\n" in render("redis", "redis.conf.j2", redis_bind=["10.0.1.21"])


# printf letmein | sha256sum
LETMEIN = "#1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032"


def test_no_file_holds_the_password() -> None:
    assert LETMEIN in render("redis", "users.conf.j2", redis_password="letmein")
    for template in ("users.conf.j2", "redis.conf.j2", "drop-in.conf.j2", "redis-validate.j2"):
        assert "letmein" not in render("redis", template, redis_password="letmein")


def users(**given: object) -> dict[str, str]:
    lines = render("redis", "users.conf.j2", **given).splitlines()
    return {words[1]: " ".join(words[2:]) for line in lines if (words := line.split()) and words[0] == "user"}


def test_a_password_switches_the_default_user_off() -> None:
    assert users() == {}
    assert users(redis_password="letmein")["default"] == "off"


def test_the_default_user_may_stay_while_programs_move_to_the_named_one() -> None:
    found = users(redis_password="letmein", redis_former_passwords=["before"], redis_default_user=True)
    assert found["default"].startswith(f"on {LETMEIN} #")
    assert found["default"].endswith("+@all")
    assert found["webapps"].count("#") == 2


def test_programs_without_a_password_may_stay_until_they_know_it() -> None:
    found = users(redis_password="letmein", redis_without_password=True)
    assert found["default"] == "on nopass ~* &* +@all"
    assert LETMEIN in found["webapps"]


def test_the_named_user_begins_with_no_right_and_gets_what_is_asked_for_last() -> None:
    rules = users(redis_password="letmein", redis_extra_rules=["+flushdb"])["webapps"].split()
    assert rules.index("-@all") < rules.index("+@write") < rules.index("-@dangerous") < rules.index("+flushdb")


def test_a_bound_redis_waits_for_the_network() -> None:
    assert "network-online.target" in render("redis", "drop-in.conf.j2", redis_bind=["10.0.1.21"])
    assert "network-online.target" not in render("redis", "drop-in.conf.j2")


def test_jobs_are_written_down_and_never_evicted() -> None:
    lines = render("redis", "redis.conf.j2").splitlines()
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"} <= set(lines)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.0.1.21", True),
        ("172.16.0.1", True),
        ("172.31.255.1", True),
        ("192.168.1.1", True),
        ("fd12:3456::1", True),
        ("172.32.0.1", False),
        ("8.8.8.8", False),
        ("0.0.0.0", False),
        ("*", False),
        ("::", False),
        ("10.0.1.21 0.0.0.0", False),
    ],
)
def test_only_private_addresses_may_be_bound(address: str, private: bool) -> None:
    assert value("redis", f"'{address}' is ansible.builtin.regex(__redis_private_address)") is private


@pytest.mark.parametrize(
    ("password", "fits"),
    [("", True), ("0a9b", True), ("a+/=~!#$%&", True), ("a b", False), ('a"b', False), ("a'b", False)],
)
def test_the_password_must_fit_into_a_line(password: str, fits: bool) -> None:
    asked = "redis_password is ansible.builtin.regex(__redis_password_characters)"
    assert value("redis", asked, redis_password=password) is fits
