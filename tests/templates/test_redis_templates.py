"""Redis's configuration for each switch of the role."""

from __future__ import annotations

import pytest

from tests.templates.render import render, value


def test_redis_is_local_unless_told_otherwise() -> None:
    assert "\nbind 127.0.0.1 -::1\n" in render("redis", "redis.conf.j2")
    assert "\nbind 127.0.0.1 -::1 10.0.1.21\n" in render("redis", "redis.conf.j2", redis_bind=["10.0.1.21"])


def test_the_password_is_in_its_own_file_only() -> None:
    assert 'requirepass "letmein"' in render("redis", "password.conf.j2", redis_password="letmein")
    assert "requirepass" not in render("redis", "password.conf.j2")
    for template in ("redis.conf.j2", "drop-in.conf.j2", "redis-validate.j2"):
        assert "letmein" not in render("redis", template, redis_password="letmein")


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
