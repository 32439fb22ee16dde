"""Redis lets in whom it is going to serve on: programs of before are never locked out by its configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_redis import Planned, problems

SECRET = "canary0123456789"
PRODUCTION = Planned(
    here=True,
    names=["redis-1", "10.0.1.21"],
    bind=["10.0.1.21"],
    port=6379,
    user="webapps",
    digests=[hashlib.sha256(SECRET.encode()).hexdigest()],
    default_user=False,
    without_password=False,
)
LOCAL = replace(PRODUCTION, bind=[])
KNOWN = {"redis-1": ["10.0.1.21"], "localhost": ["::1", "127.0.0.1"], "redis.internal": ["10.0.1.21"]}


def resolve(name: str) -> Collection[str]:
    return KNOWN.get(name, [])


def said(planned: Planned, url: str = "", *, open_today: bool = False) -> str:
    variables = {"REDIS_URL": url, "OTHER": "x"} if url else {"OTHER": "x"}
    return " ".join(map(str, problems(planned, variables, resolve, lambda: open_today)))


@pytest.mark.parametrize("url", ["redis://localhost:6379/", "redis://127.0.0.1", "redis://[::1]/2"])
def test_programs_without_a_password_would_be_locked_out_by_one(url: str) -> None:
    refusal = said(PRODUCTION, url)
    assert "without a password, and redis_password would lock them out" in refusal
    assert "redis_mode: local, redis_bind: [] and redis_without_password: true" in refusal
    assert said(replace(LOCAL, digests=[]), url) == ""
    assert said(replace(LOCAL, without_password=True), url) == ""


@pytest.mark.parametrize("url", ["redis://10.0.1.21/", "redis://redis-1/", "redis://redis.internal:6379/0"])
def test_programs_on_other_hosts_must_log_in_first(url: str) -> None:
    assert "give today's Redis a password" in said(replace(PRODUCTION, here=False), url)
    assert "will answer at 127.0.0.1 only" in said(replace(LOCAL, here=False, digests=[]), url)


def test_a_password_opens_whom_the_inventory_lets_in_with_it() -> None:
    default, named = f"redis://:{SECRET}@localhost/", f"redis://webapps:{SECRET}@localhost/"
    assert said(PRODUCTION, named) == ""
    assert "with the password of the default user, and that opens nothing any more" in said(PRODUCTION, default)
    assert said(replace(PRODUCTION, default_user=True), default) == ""
    assert "opens nothing" in said(PRODUCTION, "redis://webapps:another@localhost/")
    assert "opens nothing" in said(PRODUCTION, f"redis://amy:{SECRET}@localhost/")
    # Redis takes a password without a name for a mistake where the default user has none.
    assert "opens nothing" in said(replace(LOCAL, digests=[]), default)
    assert "opens nothing" in said(replace(LOCAL, default_user=True, without_password=True), default)


def test_no_refusal_shows_a_password() -> None:
    for url in (f"redis://:{SECRET}@localhost/", f"redis://amy:{SECRET}@10.0.1.21/", f"redis://x:{SECRET}@redis-1/"):
        assert said(PRODUCTION, url)
        assert SECRET not in said(PRODUCTION, url)


@pytest.mark.parametrize("url", ["redis://cache.example.org/", "redis://localhost:6380/"])
def test_another_redis_is_none_of_its_business(url: str) -> None:
    assert said(PRODUCTION, url, open_today=True) == ""


def test_loopback_means_another_redis_on_another_host() -> None:
    assert said(replace(PRODUCTION, here=False), "redis://localhost/", open_today=True) == ""


def test_programs_that_name_no_redis_may_use_an_open_one_by_default() -> None:
    assert "a default of their own" in said(PRODUCTION, open_today=True)
    assert said(PRODUCTION, open_today=False) == ""
    assert said(replace(LOCAL, without_password=True), open_today=True) == ""
