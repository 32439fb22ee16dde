"""Secrets come from AWS's own API as boto3 speaks it, here moto's, or from a decrypted file; no error shows a value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils.secret_sources import (
    from_parameters,
    from_secret,
    from_vault,
    required,
)
from botocore.config import Config
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
CANARY = "canary-Zq8"
# As many as AWS gives in three pages.
MANY = 25


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def post(url: str, body: str = "") -> None:
    urlopen(Request(url, data=body.encode(), headers={"Content-Type": "text/plain"})).close()


@pytest.fixture(autouse=True)
def _empty_account(endpoint: str) -> None:
    post(f"{endpoint}/moto-api/reset")


def client(service: str, endpoint: str, key: str = "testing", secret: str = "testing") -> Any:
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, connect_timeout=2),
    )  # fmt: skip


@pytest.fixture
def ssm(endpoint: str) -> Any:
    return client("ssm", endpoint)


@pytest.fixture
def manager(endpoint: str) -> Any:
    return client("secretsmanager", endpoint)


@pytest.fixture
def nobody(endpoint: str) -> Iterator[dict[str, str]]:
    """The keys of an identity without rights, in an account that checks rights."""
    iam = client("iam", endpoint)
    iam.create_user(UserName="nobody")
    made = iam.create_access_key(UserName="nobody")["AccessKey"]
    post(f"{endpoint}/moto-api/reset-auth", "0")
    yield {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    post(f"{endpoint}/moto-api/reset-auth", "inf")


def test_all_parameters_below_a_path_are_read_over_all_pages_and_decrypted(ssm: Any) -> None:
    for number in range(MANY):
        ssm.put_parameter(Name=f"/amy/test/KEY_{number}", Value=f"value {number}", Type="SecureString")
    ssm.put_parameter(Name="/amy/tests/OTHER", Value="of another path", Type="String")
    assert from_parameters(ssm, "/amy/test", REGION) == {f"KEY_{number}": f"value {number}" for number in range(MANY)}


def test_what_follows_the_path_is_the_name_in_the_characters_of_a_variable(ssm: Any) -> None:
    ssm.put_parameter(Name="/amy/test/redis/pass-word", Value=CANARY, Type="SecureString")
    assert from_parameters(ssm, "/amy/test/", REGION) == {"redis_pass_word": CANARY}


def test_two_parameters_of_one_name_are_refused_by_their_own_names(ssm: Any) -> None:
    for name in ("/amy/test/a-b", "/amy/test/a/b"):
        ssm.put_parameter(Name=name, Value=CANARY, Type="SecureString")
    with pytest.raises(WebappsError, match=r"a_b twice.* /amy/test/a-b|a_b twice.*/amy/test/a/b") as failure:
        from_parameters(ssm, "/amy/test", REGION)
    assert CANARY not in str(failure.value)


def test_an_empty_path_is_an_error_with_path_region_and_remedy(ssm: Any) -> None:
    with pytest.raises(WebappsError, match=r"/amy/nowhere \(SSM Parameter Store, eu-west-1\) are none.*correct"):
        from_parameters(ssm, "/amy/nowhere", REGION)


@pytest.mark.parametrize("path", ["amy", "/", ""])
def test_what_is_no_path_is_refused_before_aws_is_asked(path: str) -> None:
    with pytest.raises(WebappsError, match="begins with /"):
        from_parameters(None, path, REGION)


def test_missing_rights_on_parameters_name_the_right(endpoint: str, nobody: dict[str, str]) -> None:
    with pytest.raises(WebappsError, match=r"AccessDenied.*nobody.*ssm:GetParametersByPath.*kms:Decrypt"):
        from_parameters(client("ssm", endpoint, **nobody), "/amy/test", REGION)


def test_a_secrets_json_object_is_names_and_values(manager: Any) -> None:
    made = manager.create_secret(Name="amy/test", SecretString=json.dumps({"A": CANARY, "PORT": 1, "ON": True}))
    expected = {"A": CANARY, "PORT": "1", "ON": "true"}
    assert from_secret(manager, "amy/test", REGION) == expected
    assert from_secret(manager, made["ARN"], REGION) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CANARY, "no JSON"),
        (json.dumps([CANARY]), "no names and values"),
        ("{}", "no names and values"),
        (json.dumps({"A": {"B": CANARY}, "C": "text"}), "value of A:"),
    ],
)
def test_a_secret_of_another_form_is_refused_without_its_content(manager: Any, content: str, message: str) -> None:
    manager.create_secret(Name="amy/test", SecretString=content)
    with pytest.raises(WebappsError, match=message) as failure:
        from_secret(manager, "amy/test", REGION)
    assert CANARY not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_binary_secret_is_refused(manager: Any) -> None:
    manager.create_secret(Name="amy/test", SecretBinary=CANARY.encode())
    with pytest.raises(WebappsError, match="is binary"):
        from_secret(manager, "amy/test", REGION)


def test_a_missing_secret_is_an_error_with_name_region_and_what_aws_said(manager: Any) -> None:
    with pytest.raises(WebappsError, match=r"amy/nowhere \(Secrets Manager, eu-west-1\).*ResourceNotFound.*Create it"):
        from_secret(manager, "amy/nowhere", REGION)


def test_a_deleted_secret_says_how_it_is_restored(manager: Any) -> None:
    manager.create_secret(Name="amy/test", SecretString="{}")
    manager.delete_secret(SecretId="amy/test")
    with pytest.raises(WebappsError, match="restore-secret"):
        from_secret(manager, "amy/test", REGION)


def test_missing_rights_on_a_secret_name_the_right(endpoint: str, nobody: dict[str, str]) -> None:
    with pytest.raises(WebappsError, match=r"AccessDenied.*nobody.*secretsmanager:GetSecretValue"):
        from_secret(client("secretsmanager", endpoint, **nobody), "amy/test", REGION)


def test_an_endpoint_that_does_not_answer_is_told_by_its_address() -> None:
    with pytest.raises(WebappsError, match=r"http://127.0.0.1:9.*AWS_ENDPOINT_URL"):
        from_secret(client("secretsmanager", "http://127.0.0.1:9"), "amy/test", REGION)


def test_a_decrypted_file_is_names_and_values() -> None:
    assert from_vault(b"A: text\nB: 2\nC: false\n", "f.yml") == {"A": "text", "B": "2", "C": "false"}


def test_a_decrypted_file_that_is_no_yaml_is_told_by_its_line_alone() -> None:
    with pytest.raises(WebappsError, match=r"f\.yml.*line 2") as failure:
        from_vault(f"A: 1\n- {CANARY}\n".encode(), "f.yml")
    assert CANARY not in str(failure.value)


def test_only_what_is_asked_for_is_given_and_all_that_is_missing_is_named() -> None:
    assert required({"A": "1", "B": "2"}, ["A"], "x") == {"A": "1"}
    assert required({"A": "1"}, [], "x") == {"A": "1"}
    with pytest.raises(WebappsError, match="x lacks B, C:"):
        required({"A": CANARY}, ["C", "B", "A"], "x")
