"""Ansible itself reads secrets from the source that a variable names, asks AWS once in a run, and shows no value."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[4]
CANARY = "canary-Zq8 '\"{{ 7 * 6 }}"
PLAYBOOK = [
    {
        "name": "Read the secrets on every host",
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "places": {"vault": "secrets.yml", "ssm": "/amy/test", "secrets_manager": "amy/test"},
            "secrets": (
                "{{ query('carpentries.webapps.secrets', place | default(places[source]), source=source,"
                " names=names | default(['PASSWORD']), region='eu-west-1') | first }}"
            ),
        },
        "tasks": [
            {
                "name": "Read the password",
                "ansible.builtin.assert": {
                    "that": ["secrets.PASSWORD | hash('sha256') == expected", "secrets.keys() | list == ['PASSWORD']"],
                    "quiet": True,
                },
            },
            {
                "name": "Write the password where nobody sees it",
                "ansible.builtin.copy": {
                    "content": "{{ secrets.PASSWORD }}",
                    "dest": "{{ scratch }}/{{ inventory_hostname }}",
                    "mode": "0600",
                },
                "no_log": True,
            },
        ],
    }
]


@dataclass
class Account(logging.Handler):
    """AWS as moto serves it over HTTP, and what it was asked."""

    url: str
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.asked.append(record.getMessage())

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name="eu-west-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip


@pytest.fixture
def account() -> Iterator[Account]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    account = Account(f"http://{host}:{port}")
    urlopen(Request(f"{account.url}/moto-api/reset", data=b"")).close()
    account.client("ssm").put_parameter(Name="/amy/test/PASSWORD", Value=CANARY, Type="SecureString")
    account.client("ssm").put_parameter(Name="/amy/test/OTHER", Value="other", Type="SecureString")
    account.client("secretsmanager").create_secret(
        Name="amy/test", SecretString=json.dumps({"PASSWORD": CANARY, "OTHER": "other"})
    )
    log = logging.getLogger("werkzeug")
    log.addHandler(account)
    log.setLevel(logging.INFO)
    yield account
    log.removeHandler(account)
    server.stop()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAYBOOK, sort_keys=False))
    (tmp_path / "password").write_text("opens the vault\n")
    (tmp_path / "secrets.yml").write_text(yaml.safe_dump({"PASSWORD": CANARY, "OTHER": "other"}))
    vault(tmp_path, "encrypt", "secrets.yml")
    return tmp_path


def vault(scratch: Path, action: str, name: str) -> None:
    program = Path(sys.executable).with_name("ansible-vault")
    subprocess.run([program, action, "--vault-password-file", "password", name], cwd=scratch, check=True)


def play(scratch: Path, url: str, source: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    values = {
        "ansible_python_interpreter": sys.executable,
        "source": source,
        "scratch": str(scratch),
        "expected": sha256(CANARY.encode()).hexdigest(),
        **variables,
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")), "-vvv", "--diff", "-i", "web-1,web-2,web-3",
        "--extra-vars", json.dumps(values), *options, "play.yml",
    ]  # fmt: skip
    environment = {
        **os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_LOCAL_TEMP": str(scratch / "tmp"), "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }  # fmt: skip
    return subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("source", ["vault", "ssm", "secrets_manager"])
def test_one_variable_says_where_secrets_come_from_and_no_output_shows_them(
    account: Account, scratch: Path, source: str
) -> None:
    done = play(scratch, account.url, source, "--vault-password-file", "password")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(scratch / f"web-{number}").read_text() for number in (1, 2, 3)] == [CANARY] * 3
    assert "canary" not in done.stdout + done.stderr
    # Six tasks evaluate the lookup, each in a process of its own.
    assert len(account.asked) == (0 if source == "vault" else 1)


@pytest.mark.parametrize(
    ("source", "variables", "message"),
    [
        ("ssm", {"place": "/amy/nowhere"}, "/amy/nowhere (SSM Parameter Store, eu-west-1) are none"),
        ("ssm", {"names": ["PASSWORD", "MISSING"]}, "/amy/test (ssm) lacks MISSING"),
        ("secrets_manager", {"place": "amy/nowhere"}, "ResourceNotFoundException"),
        ("vault", {"place": "nowhere.yml"}, "nowhere.yml on the controller"),
        ("vault", {"place": "play.yml"}, "play.yml is not encrypted"),
        ("vault", {}, "ANSIBLE_VAULT_PASSWORD_FILE"),
    ],
    ids=["no path", "a missing name", "no secret", "no file", "not encrypted", "no vault password"],
)
def test_what_cannot_be_read_is_told_with_its_place_and_without_a_value(
    account: Account, scratch: Path, source: str, variables: dict[str, object], message: str
) -> None:
    done = play(scratch, account.url, source, **variables)
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert message in output
    assert "canary" not in output
