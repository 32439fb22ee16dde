"""Which settings of a Redis endanger jobs."""

from __future__ import annotations

import pytest
from ansible_collections.carpentries.webapps.plugins.modules.redis_info import warnings_of

SAFE = {"maxmemory_policy": "noeviction", "aof_enabled": "1", "role": "master", "connected_slaves": "0"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"maxmemory_policy": "volatile-lru"}, ["maxmemory_policy volatile-lru"]),
        ({"aof_enabled": "0"}, ["writes no append-only file and has no replica"]),
        ({"aof_enabled": "0", "connected_slaves": "1"}, []),
        ({"aof_enabled": "0", "role": "slave"}, []),
    ],
)
def test_each_danger_is_named(changes: dict[str, str], words: list[str]) -> None:
    found = warnings_of("redis://host:6379/0", {**SAFE, **changes})
    assert len(found) == len(words)
    assert all(word in warning for word, warning in zip(words, found, strict=True))


def test_a_service_that_says_nothing_is_not_accused() -> None:
    assert warnings_of("redis://host:6379/0", {}) == []
