"""How a generation is named and what supervisor is told about it."""

from __future__ import annotations

import configparser
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.program import Generation, Program

LAYOUT = Layout(Path("/webapps/amy.example.org"))
RELEASE = "0123456789-89abcdef"
PROGRAM = Program(
    "gunicorn", ".venv/bin/gunicorn --bind unix:{socket} app", "amy", "/webapps/amy.example.org/logs/g.log"
)


def generation(release: str = RELEASE, environment: str = "0a0a0a0a", **changes: object) -> Generation:
    return Generation(LAYOUT, replace(PROGRAM, **changes), release, environment)  # type: ignore[arg-type]


def section(made: Generation) -> dict[str, str]:
    """The section as supervisor reads it: comments cut off, nothing expanded yet."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(made.render(proven=False))
    return dict(parser.items(f"program:{made.group}"))


def test_the_same_settings_give_the_same_generation() -> None:
    assert generation().id == generation().id
    assert generation().id.startswith(f"{RELEASE}-")


@pytest.mark.parametrize(
    "changed",
    [
        {"release": "0123456789-00000000"},
        {"environment": "0b0b0b0b"},
        {"command": ".venv/bin/gunicorn app"},
        {"user": "other"},
        {"processes": 2},
        {"umask": "022"},
        {"stop_signal": "QUIT"},
        {"stop_wait": 61},
        {"start_seconds": 2},
        {"stdout_logfile": "/var/log/g.log"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_any_other_setting_gives_another_generation(changed: dict[str, str]) -> None:
    assert generation(**changed).id != generation().id


def test_the_section_runs_the_release_with_its_environment_and_never_signals_the_whole_process_group() -> None:
    made = generation()
    values = section(made)
    assert shlex.split(values["command"]) == [
        "/usr/local/bin/webapps-run",
        "/webapps/amy.example.org/environments/0a0a0a0a",
        f"/webapps/amy.example.org/releases/{RELEASE}/.venv/bin/gunicorn",
        "--bind",
        f"unix:/run/webapps/amy.example.org/{made.id}.sock",
        "app",
    ]
    assert values["directory"] == f"/webapps/amy.example.org/releases/{RELEASE}"
    assert (values["stopasgroup"], values["killasgroup"], values["autorestart"]) == ("false", "false", "true")
    assert (values["stopwaitsecs"], values["stdout_logfile_maxbytes"]) == ("60", "0")
    assert made.conf.name == f"amy.example.org-gunicorn-{made.id}.conf"


def test_being_proven_changes_only_a_comment() -> None:
    proven, unproven = (generation().render(proven=each) for each in (True, False))
    assert [line for line in proven.splitlines() if not line.startswith(";")] == [
        line for line in unproven.splitlines() if not line.startswith(";")
    ]
    assert proven != unproven


def test_percent_signs_reach_the_program_as_they_were_written() -> None:
    made = generation(command=".venv/bin/gunicorn --access-logformat '%(h)s 100%' app")
    expanded = section(made)["command"] % {"process_num": 0}
    assert "'%(h)s 100%'" in expanded


def test_every_process_learns_its_number() -> None:
    values = section(generation(processes=3, command=".venv/bin/rqworker --name w{process} --dir {root}"))
    assert values["numprocs"] == "3"
    assert values["command"] % {"process_num": 2} == (
        f"/usr/local/bin/webapps-run /webapps/amy.example.org/environments/0a0a0a0a "
        f"/webapps/amy.example.org/releases/{RELEASE}/.venv/bin/rqworker --name w02 --dir /webapps/amy.example.org"
    )
    assert values["process_name"] % {"program_name": "p", "process_num": 2} == "p_02"


def test_an_absolute_command_stays_what_it_is() -> None:
    assert "0a0a0a0a /usr/bin/sleep 5" in section(generation(command="/usr/bin/sleep 5"))["command"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", "run\nuser=root"),
        ("command", "run ; rm"),
        ("command", "run # away"),
        ("command", "run 'open"),
        ("command", " "),
        ("user", "amy\nautostart=false"),
        ("user", "Amy Smith"),
        ("name", "gunicorn-2"),
        ("umask", "999"),
        ("stop_signal", "KILL"),
        ("processes", 0),
        ("stop_wait", 0),
        ("start_seconds", -1),
        ("stdout_logfile", "logs/relative.log"),
        ("stdout_logfile", "/var/log/%(here)s"),
    ],
)
def test_a_value_that_supervisor_would_misread_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(WebappsError, match=rf"program\.{field} is "):
        generation(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("release", ["", "../escape", "a b", "-x"])
def test_a_release_id_that_is_no_name_is_refused(release: str) -> None:
    with pytest.raises(WebappsError, match="release is"):
        generation(release=release)


@pytest.mark.parametrize("environment", ["", "../../etc/passwd", "0A0A0A0A", "0a0a"])
def test_an_environment_digest_that_is_none_is_refused(environment: str) -> None:
    with pytest.raises(WebappsError, match="environment_digest is"):
        generation(environment=environment)


def test_a_root_with_odd_characters_is_refused() -> None:
    with pytest.raises(WebappsError, match="root is"):
        Generation(Layout(Path("/webapps/a b")), PROGRAM, RELEASE, "0a0a0a0a")
