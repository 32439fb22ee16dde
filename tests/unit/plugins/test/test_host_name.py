"""What counts as a host name."""

from __future__ import annotations

import pytest
from ansible_collections.carpentries.webapps.plugins.test.host_name import is_host_name


@pytest.mark.parametrize("value", ["amy.example.org", "a.b", "x-1.example.org", "123.example.org", "a" * 63 + ".org"])
def test_a_fully_qualified_lower_case_name_is_a_host_name(value: str) -> None:
    assert is_host_name(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "amy",
        "Amy.example.org",
        "amy..org",
        "-amy.org",
        "amy-.org",
        "amy.org.",
        "../etc",
        "amy org",
        "https://amy.org",
        "a" * 64 + ".org",
        "a." * 126 + "toolong",
        None,
        7,
        ["amy.org"],
    ],
)
def test_anything_else_is_none(value: object) -> None:
    assert not is_host_name(value)
