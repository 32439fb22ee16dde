"""What is locked is installed, and nothing else, whichever tool made the lock file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

ROOT = "/webapps/amy.example.org"
STORAGE = "/var/lib/webapps/amy.example.org"
# The application's own dependency, then an extra, a group, and what only developers need.
MAIN, EXTRA, GROUP, DEVELOPMENT = "asgiref", "sqlparse", "packaging", "certifi"


def artifact(host: Host, version: str) -> str:
    """The packed release of a version."""
    for path in host.check_output(f"ls {STORAGE}/artifacts/*.tar.zst").split():
        described = json.loads(host.check_output(f"tar --extract --to-stdout --file={path} RELEASE.json"))
        if described["version"] == version:
            return path
    raise AssertionError(f"there is no artifact of {version}")


def required(host: Host, application: str, **arguments: object) -> dict[str, Any]:
    """Have the module read an application's lock file."""
    tree = f"/srv/{application}/releases/0000000001-00000001"
    host.check_output(f"mkdir -p {tree}/.venv/bin && cp -r /srv/locks/{application}/. {tree}")
    host.check_output(f"ln -sf /usr/bin/python3 {tree}/.venv/bin/python && chmod -R go+rX /srv/{application}")
    given = {
        "root": f"/srv/{application}",
        "id": "0000000001-00000001",
        "owner": "amy",
        "home": f"{STORAGE}/cache",
        "pins": f"{STORAGE}/lock_tools",
        **arguments,
    }
    result: dict[str, Any] = host.ansible(
        "carpentries.webapps.release_requirements", json.dumps(given), check=False, become=True
    )
    return result


@pytest.mark.parametrize(
    ("version", "installed"),
    [
        ("hashed", {MAIN}),
        ("unhashed", {MAIN}),
        ("pipenv", {MAIN, GROUP}),
        ("poetry", {MAIN, GROUP, EXTRA}),
        ("uv", {MAIN, GROUP, EXTRA}),
    ],
)
def test_a_release_has_what_its_lock_file_names_and_was_asked_for(
    host: Host, version: str, installed: set[str]
) -> None:
    place = f"/root/{version}"
    host.check_output(f"mkdir -p {place} && tar --extract --file={artifact(host, version)} --directory={place}")
    listed = host.check_output(f"ls {place}/.venv/lib/python3.*/site-packages")
    found = {name for name in (MAIN, EXTRA, GROUP, DEVELOPMENT) if name in listed.split()}
    assert found == installed
    for name in installed:
        host.check_output(f"{place}/.venv/bin/python -c 'import {name}'")


@pytest.mark.parametrize("kind", ["pipenv", "poetry", "uv"])
def test_a_lock_file_that_is_older_than_its_manifest_is_refused(host: Host, kind: str) -> None:
    result = required(host, f"stale-{kind}")
    assert f"run `{kind} lock` in the application" in result["msg"]


def test_an_application_without_or_with_several_lock_files_is_refused(host: Host) -> None:
    assert "The source has no lock file" in required(host, "none")["msg"]
    assert "requirements.txt, uv.lock: say in app_release_lock" in required(host, "several")["msg"]
    assert required(host, "several", lock="uv.lock")["tool"] == "uv"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("pipenv", {"groups": ["nope"]}), ("poetry", {"groups": ["nope"]}), ("uv", {"extras": ["nope"]})],
)
def test_a_group_or_extra_that_there_is_not_is_refused(host: Host, kind: str, wrong: dict[str, list[str]]) -> None:
    result = required(host, kind, **wrong)
    assert "nope" in result["msg"]


def test_tools_are_in_environments_of_their_own_that_the_builder_alone_uses(host: Host) -> None:
    names = host.check_output(f"ls {STORAGE}/cache/tools").split()
    assert sorted(name.split("-")[0] for name in names) == ["pipenv", "poetry", "uv"]
    assert host.check_output(f"stat --format=%U {STORAGE}/cache/tools/{names[0]}") == "amy"
    assert host.run(f"runuser -u nobody -- cat {STORAGE}/lock_tools/requirements.txt").rc != 0


def test_reading_a_lock_file_leaves_the_source_as_it_is(host: Host) -> None:
    for kind in ("pipenv", "poetry", "uv"):
        required(host, kind)
        tree = f"/srv/{kind}/releases/0000000001-00000001"
        host.check_output(f"diff --recursive --exclude=.venv /srv/locks/{kind} {tree}")
