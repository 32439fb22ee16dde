"""The inventories set only what somebody reads, share what stages have in common, and read hosts and secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tools.variables_table import options_of

ROOT = Path(__file__).parent.parent.parent
INVENTORIES = ROOT / "inventories"
STAGES = ("production", "test")
LINKED = ("aws_roles.yml", "group_vars/all/application.yml", "group_vars/all/secrets.yml")
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
INPUTS = {name for role in ROLES for name in options_of(yaml.safe_load((role / "meta/argument_specs.yml").read_text()))}
# Ansible's own, and the sandbox's, which no role reads.
OTHERS = re.compile(r"ansible_(user|ssh_private_key_file|ssh_common_args)|sandbox_\w+")
EXAMPLE: dict[str, str] = yaml.safe_load((INVENTORIES / "secrets/vault.example.yml").read_text())
HOSTS = {
    "web-1": "web",
    "web-2": "web,scheduler",
    "worker-1": "worker,redis,builder",
}
# What stops AMY when it is missing, or is wrong unless it is set.
NEEDED = {
    "AMY_DEBUG", "AMY_SECRET_KEY", "AMY_ALLOWED_HOSTS", "AMY_SITE_BANNER", "AMY_DATABASE_HOST", "AMY_DATABASE_PASSWORD",
    "AMY_REDIS_URL", "AMY_SOCIAL_AUTH_GITHUB_KEY", "AMY_SOCIAL_AUTH_GITHUB_SECRET", "AMY_RECAPTCHA_PUBLIC_KEY",
    "AMY_RECAPTCHA_PRIVATE_KEY", "AMY_MAILGUN_API_KEY", "AMY_MAILGUN_SENDER_DOMAIN", "AMY_REPORTS_SALT_FRONT",
    "AMY_REPORTS_SALT_BACK", "AMY_CSRF_TRUSTED_ORIGINS",
}  # fmt: skip


def variables_of(inventory: str) -> dict[str, Any]:
    """The names that an inventory's group_vars set, with the files that set them."""
    found: dict[str, Any] = {}
    for path in sorted((INVENTORIES / inventory / "group_vars").rglob("*.yml")):
        found |= yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("inventory", [*STAGES, "sandbox"])
def test_an_inventory_sets_only_what_a_role_or_a_playbook_reads(inventory: str) -> None:
    names = {name for name in variables_of(inventory) if not OTHERS.fullmatch(name)}
    shared = {name for name in names if name.startswith("webapps_")}
    assert names - shared - INPUTS == set()
    readers = [*ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/**/*.yml"), *INVENTORIES.rglob("*.yml")]
    text = "\n".join(path.read_text() for path in readers)
    assert [name for name in shared if not re.search(rf"(?<!^){name}(?!\w|:)", text, re.MULTILINE)] == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", LINKED)
def test_what_stages_have_in_common_exists_once(stage: str, name: str) -> None:
    path = INVENTORIES / stage / name
    assert path.is_symlink()
    assert path.resolve().is_relative_to(INVENTORIES / "amy")


def test_every_stage_says_the_same_things_and_nothing_that_is_common() -> None:
    own = [yaml.safe_load((INVENTORIES / stage / "group_vars/all/stage.yml").read_text()) for stage in STAGES]
    assert own[0].keys() == own[1].keys()
    common = yaml.safe_load((INVENTORIES / "amy/application.yml").read_text())
    assert own[0].keys() & common.keys() == set()


def test_the_example_of_a_vault_has_every_secret() -> None:
    assert sorted(EXAMPLE) == yaml.safe_load((INVENTORIES / "amy/secrets.yml").read_text())["webapps_secrets_names"]


def test_no_upstream_script_that_makes_a_known_password_is_run() -> None:
    commands = yaml.safe_load((INVENTORIES / "amy/application.yml").read_text())["app_release_post_migrate_commands"]
    assert "create_superuser" not in json.dumps(commands)


@pytest.fixture(scope="module")
def account() -> Iterator[str]:
    """An AWS account with the hosts of every stage and the secrets of every source."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urlopen(Request(f"{url}/moto-api/reset", data=b"")).close()
    access = {"endpoint_url": url, "region_name": "eu-west-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    ec2, ssm, manager = (boto3.client(name, **access) for name in ("ec2", "ssm", "secretsmanager"))
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for stage in STAGES:
        for name, role in HOSTS.items():
            tags = {"Name": name, "Application": "amy", "Stage": stage, "Role": role}
            specification = {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
            ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=[specification])
        for name, value in EXAMPLE.items():
            ssm.put_parameter(Name=f"/amy/{stage}/{name}", Value=value, Type="SecureString")
        manager.create_secret(Name=f"amy/{stage}", SecretString=json.dumps(EXAMPLE))
    yield url
    server.stop()


def ansible(program: str, inventory: str, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "LC_ALL": "C.UTF-8", "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name(program)), "-i", f"inventories/{inventory}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("stage", STAGES)
def test_hosts_are_in_the_groups_that_their_tags_say(account: str, stage: str) -> None:
    listed = ansible("ansible-inventory", stage, account, "--list")
    assert listed.returncode == 0, listed.stderr
    # Ansible marks what came from outside.
    groups = json.loads(listed.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))
    for group in ("web", "worker", "scheduler", "redis", "builder"):
        assert set(groups[group]["hosts"]) == {name for name, roles in HOSTS.items() if group in roles.split(",")}
    host = groups["_meta"]["hostvars"]["web-1"]
    assert host["load_balancer_target"] == {
        "name": "web-1", "instance_id": host["aws_instance_id"], "ip_address": host["ansible_host"]
    }  # fmt: skip


def test_hosts_of_another_inventory_are_left_alone(account: str) -> None:
    listed = ansible("ansible-inventory", "production", account, "-i", "elsewhere,", "--list")
    assert listed.returncode == 0, listed.stderr
    groups = json.loads(listed.stdout)
    assert set(groups["web"]["hosts"]) == {"web-1", "web-2"}
    assert "ansible_host" not in groups["_meta"]["hostvars"]["elsewhere"]


@pytest.mark.parametrize("inventory", [*STAGES, "sandbox"])
def test_an_endpoint_that_does_not_answer_fails_the_run(inventory: str) -> None:
    assert ansible("ansible-inventory", inventory, "http://127.0.0.1:9", "--list").returncode != 0


@pytest.mark.parametrize("source", ["vault", "ssm", "secrets_manager"])
@pytest.mark.parametrize("stage", STAGES)
def test_everything_an_inventory_sets_can_be_read_whatever_the_source_of_its_secrets(
    account: str, tmp_path: Path, stage: str, source: str
) -> None:
    (tmp_path / "password").write_text("opens the vault\n")
    vault = tmp_path / "vault.yml"
    vault.write_text(yaml.safe_dump(EXAMPLE))
    encrypt = [Path(sys.executable).with_name("ansible-vault"), "encrypt", "--vault-password-file"]
    subprocess.run([*encrypt, str(tmp_path / "password"), str(vault)], check=True, capture_output=True)
    places = {"vault": str(vault), "ssm": f"/amy/{stage}", "secrets_manager": f"amy/{stage}"}
    names = sorted(variables_of(stage).keys() - {"webapps_secrets_places"})
    copy = {
        "content": "{{ query('ansible.builtin.vars', *names) | to_json }}",
        "dest": str(tmp_path / "values.json"),
        "mode": "0600",
    }
    task = {"name": "Read everything", "ansible.builtin.copy": copy, "delegate_to": "localhost", "no_log": True}
    play = {"name": "Read everything", "hosts": "worker-1", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    variables = {"names": names, "webapps_secrets_source": source, "webapps_secrets_places": places}
    done = ansible(
        "ansible-playbook", stage, account, "--vault-password-file", str(tmp_path / "password"), "--extra-vars",
        json.dumps(variables), str(tmp_path / "play.yml"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    values = dict(zip(names, json.loads((tmp_path / "values.json").read_text()), strict=True))
    environment = values["app_release_environment"]
    assert set(environment) >= NEEDED
    assert {name: environment[name] for name in EXAMPLE if name != "REDIS_PASSWORD"} == {
        name: value for name, value in EXAMPLE.items() if name != "REDIS_PASSWORD"
    }
    assert environment["AMY_DEBUG"] is False
    # The settings append the number of the database, and keep a space after a comma.
    assert environment["AMY_REDIS_URL"].endswith(":6379/")
    assert " " not in environment["AMY_ALLOWED_HOSTS"]
    # Nothing but the test site's catches mails that people should not get.
    assert bool(environment["AMY_AUTOEMAIL_OVERRIDE_OUTGOING_ADDRESS"]) == (stage == "test")
