"""What building and staging leave on the builder and on a host, and who may do what with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

ROOT = "/webapps/amy.example.org"
STORAGE = "/var/lib/webapps/amy.example.org"
AS_AMY = "runuser -u amy --"
# The builder, and a host that only gets releases.
testinfra_hosts = ["ansible://webapps-app_release", "ansible://webapps-app_release-host"]


@pytest.fixture
def release(host: Host) -> str:
    """The one release that is staged."""
    (name,) = host.check_output(f"ls {ROOT}/releases").split()
    return name


@pytest.fixture
def tree(release: str) -> str:
    return f"{ROOT}/releases/{release}"


@pytest.fixture
def environment(host: Host) -> str:
    (name,) = host.check_output(f"ls {ROOT}/environments").split()
    return f"{ROOT}/environments/{name}"


def is_builder(host: Host) -> bool:
    return host.file(f"{STORAGE}/git").exists


def call(host: Host, **arguments: object) -> dict[str, Any]:
    """Call the module release on the host, for real."""
    text = " ".join(f"{name}={value}" for name, value in {"root": ROOT, **arguments}.items())
    result: dict[str, Any] = host.ansible("carpentries.webapps.release", text, check=False, become=True)
    return result


def test_the_release_says_what_it_is(host: Host, release: str) -> None:
    described = json.loads(host.file(f"{ROOT}/releases/{release}/RELEASE.json").content_string)
    assert (described["id"], described["version"]) == (release, "v1-web")
    assert described["commit"].startswith(release.split("-")[0])


def test_the_ledger_knows_the_release(host: Host, release: str) -> None:
    (entry,) = call(host, state="listed")["releases"]
    assert (entry["id"], entry["state"], entry["version"]) == (release, "staged", "v1-web")


def test_the_application_runs_from_a_release_that_it_cannot_change(host: Host, tree: str, environment: str) -> None:
    run = f"cd {tree} && {AS_AMY} webapps-run {environment} .venv/bin/python manage.py check --deploy"
    assert host.run(run).rc == 0
    for target in (tree, f"{tree}/manage.py", f"{tree}/.venv/bin/activate", f"{tree}/sandboxapp/__pycache__"):
        assert host.run(f"{AS_AMY} test -w {target}").rc != 0, target


def test_others_can_neither_read_the_release_nor_the_environment(host: Host, tree: str, environment: str) -> None:
    for target in (f"{tree}/manage.py", environment):
        assert host.run(f"runuser -u nobody -- cat {target}").rc != 0
        assert host.run(f"{AS_AMY} cat {target}").rc == 0


def test_static_files_are_for_the_web_server(host: Host) -> None:
    names = host.check_output(f"runuser -u www-data -- ls {ROOT}/static/notes").split()
    assert [name for name in names if name.startswith("site.") and len(name.split(".")) == 3]
    for name in names:
        assert host.run(f"runuser -u www-data -- cat {ROOT}/static/notes/{name}").rc == 0


def test_bytecode_fits_the_source_so_that_no_start_compiles(host: Host, tree: str) -> None:
    program = (
        "import importlib.util, pathlib, sys\n"
        "for source in sys.argv[1:]:\n"
        "    compiled = pathlib.Path(importlib.util.cache_from_source(source)).read_bytes()\n"
        "    assert int.from_bytes(compiled[8:12], 'little') == int(pathlib.Path(source).stat().st_mtime), source\n"
    )
    sources = f"{tree}/sandboxapp/settings.py {tree}/.venv/lib/python3.*/site-packages/django/__init__.py"
    assert host.run(f'{tree}/.venv/bin/python -c "{program}" {sources}').rc == 0


def test_an_operators_shell_gets_the_environment_as_it_was_given(host: Host, tree: str, environment: str) -> None:
    host.check_output(f"ln -s {environment} {ROOT}/environment")
    session = f'cd {tree} && . .venv/bin/activate && . .venv/bin/postactivate && printf %s "$SECRET_KEY"'
    shown = host.check_output(f"bash -c '{session}'")
    host.check_output(f"rm {ROOT}/environment")
    assert shown == 'canary $HOME `id` "quoted" it\'s & so on 0123456789 abcdefghij'


def test_no_file_that_everyone_may_read_has_a_secret(host: Host) -> None:
    found = host.run(f"find {ROOT} {STORAGE} /etc /var/log /tmp -type f -perm -o=r -exec grep -l canary {{}} +")
    assert found.stdout == ""
    assert host.run("journalctl | grep canary").stdout == ""


def test_settings_that_miss_variables_are_refused_with_all_of_their_names(host: Host, release: str) -> None:
    variables = {"REDIS_URL": "redis://:canary-in-vain@127.0.0.1:6379/0"}
    given = json.dumps({"root": ROOT, "group": "amy", "variables": variables})
    digest = host.ansible("carpentries.webapps.environment_file", given, check=False, become=True)["digest"]
    arguments = {"root": ROOT, "release": release, "environment_digest": digest, "user": "amy"}
    result = host.ansible("carpentries.webapps.release_preflight", json.dumps(arguments), check=False, become=True)
    host.check_output(f"rm {ROOT}/environments/{digest}")
    assert "3 variables are missing: SECRET_KEY, ALLOWED_HOSTS, DATABASE_URL." in result["msg"]
    assert "canary" not in json.dumps(result)


def test_packages_of_npm_are_in_the_release_and_ran_nothing_when_installed(host: Host, tree: str) -> None:
    assert host.file(f"{tree}/node_modules/paper-plane/plane.css").exists
    assert not host.file(f"{tree}/installed-by-script").exists


def test_the_applications_own_build_is_collected_and_saw_no_secret(host: Host, tree: str) -> None:
    for directory, name in (("plane", "plane"), ("built", "wing")):
        found = host.check_output(f"ls {ROOT}/static/{directory}").split()
        assert [file for file in found if file.startswith(f"{name}.") and len(file.split(".")) == 3]
    seen = host.file(f"{tree}/built/sees.txt").content_string.split()
    assert "HOME" in seen
    assert not {"SECRET_KEY", "DATABASE_URL"} & set(seen)


def test_what_the_application_stores_is_outside_of_the_release_and_for_the_web_server(host: Host, tree: str) -> None:
    host.check_output(f"{AS_AMY} sh -c 'umask 022; echo photo > {tree}/media/photo.txt'")
    assert host.check_output(f"runuser -u www-data -- cat {ROOT}/shared/media/photo.txt") == "photo"
    assert host.run(f"{AS_AMY} touch {ROOT}/shared/other").rc != 0


def test_no_file_of_a_host_has_the_deploy_key(host: Host) -> None:
    key = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "deploy_key").read_text().splitlines()[4]
    # In two parts, because commands are logged.
    host.check_output(f"install -m 0600 /dev/null /root/sought && printf %s%s {key[:20]} {key[20:40]} > /root/sought")
    places = "/root/.ansible /root/.ssh /etc /home /run /srv /tmp /usr/local /var /webapps"
    assert host.run(f"grep --recursive --files-with-matches --file=/root/sought {places}").stdout == ""


def test_only_the_builder_keeps_the_artifact(host: Host, release: str) -> None:
    kept = host.check_output(f"ls {STORAGE}/artifacts").split()
    assert kept == ([f"{release}.tar.zst", f"{release}.tar.zst.sha256"] if is_builder(host) else [])
    assert host.run(f"{AS_AMY} cat {STORAGE}/artifacts/{release}.tar.zst").rc != 0


def test_pruning_keeps_what_is_live_and_what_runs_and_removes_the_rest(host: Host, release: str, tree: str) -> None:
    nothing = {"state": "pruned", "keep": 0, "keep_failed": 0}
    host.check_output(f"ln -sfn releases/{release} {ROOT}/repo")
    assert not [step for step in call(host, **nothing)["steps"] if tree in step]
    host.check_output(f"rm {ROOT}/repo")
    worker = host.check_output(f"cd {tree} && (setsid sleep 1000 > /dev/null 2>&1 & echo $!)")
    assert not [step for step in call(host, **nothing)["steps"] if tree in step]
    host.check_output(f"kill {worker}")
    assert f"remove {tree}" in call(host, **nothing)["steps"]
    assert not host.file(tree).exists


def test_pruning_a_release_leaves_what_the_application_stored(host: Host) -> None:
    assert host.file(f"{ROOT}/shared/media/photo.txt").exists
