"""Filling an account, against moto in this process."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import moto
import pytest
import yaml
from botocore.exceptions import EndpointConnectionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.aws import moto_elbv2
from sandbox.aws.account import Account, Clients, Description, DescriptionError, connect, load, main, parse

LOCAL = {"AWS_ENDPOINT_URL": "http://10.77.0.10:5000"}
EXAMPLE = Path(moto_elbv2.__file__).parent / "account.example.yml"


@dataclass(frozen=True)
class CertificateFiles:
    body: Path
    private_key: Path


def make_certificate(directory: Path, name: str) -> CertificateFiles:
    """Write a self-signed certificate for `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = CertificateFiles(directory / "balancer.crt", directory / "balancer.key")
    files.body.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def certificate_files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path, "amy.sandbox.test")


@pytest.fixture
def description(tmp_path: Path, certificate_files: CertificateFiles) -> Description:
    shutil.copy(EXAMPLE, tmp_path / "account.yml")
    return load(tmp_path / "account.yml")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with moto.mock_aws():
        yield connect("eu-west-1")


def fill(description: Description, clients: Clients) -> dict[str, Any]:
    return Account(description, clients).fill()


def instances(clients: Clients, **tags: str) -> dict[str, dict[str, Any]]:
    """Return the instances that an inventory filtering on these tags sees, by their Name."""
    filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
    reservations = clients.ec2.describe_instances(Filters=filters)["Reservations"]
    found = [instance for reservation in reservations for instance in reservation["Instances"]]
    return {next(tag["Value"] for tag in one["Tags"] if tag["Key"] == "Name"): one for one in found}


def test_hosts_have_their_addresses_zones_and_tags(description: Description, clients: Clients) -> None:
    summary = fill(description, clients)
    found = instances(clients, Application="amy", Stage="sandbox")
    assert {name: one["PrivateIpAddress"] for name, one in found.items()} == {
        "web-1": "10.77.1.11",
        "web-2": "10.77.2.11",
        "web-3": "10.77.3.11",
        "worker-1": "10.77.1.21",
        "db-1": "10.77.1.31",
    }
    assert found["web-3"]["Placement"]["AvailabilityZone"] == "eu-west-1c"
    assert {"Key": "Role", "Value": "worker,scheduler,redis,builder"} in found["worker-1"]["Tags"]
    assert summary["instances"] == {name: one["InstanceId"] for name, one in found.items()}


def test_only_the_web_hosts_are_registered(description: Description, clients: Clients) -> None:
    summary = fill(description, clients)
    described = clients.elb.describe_target_health(TargetGroupArn=summary["target_group_arn"])
    registered = {one["Target"]["Id"] for one in described["TargetHealthDescriptions"]}
    assert registered == {summary["instances"][name] for name in ("web-1", "web-2", "web-3")}


def test_the_target_group_drains_and_checks_as_described(description: Description, clients: Clients) -> None:
    summary = fill(replace(description, health_path="/up", deregistration_delay=7), clients)
    group = clients.elb.describe_target_groups(Names=["amy-sandbox"])["TargetGroups"][0]
    assert (group["Port"], group["TargetType"], group["HealthCheckPath"]) == (80, "instance", "/up")
    assert (group["HealthCheckIntervalSeconds"], group["HealthCheckTimeoutSeconds"]) == (5, 2)
    attributes = clients.elb.describe_target_group_attributes(TargetGroupArn=summary["target_group_arn"])["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "7"} in attributes


def test_the_balancer_speaks_tls_and_redirects_to_it(
    description: Description, clients: Clients, certificate_files: CertificateFiles
) -> None:
    summary = fill(description, clients)
    found = clients.elb.describe_listeners(LoadBalancerArn=summary["load_balancer_arn"])["Listeners"]
    https, http = sorted(found, key=lambda listener: -listener["Port"])
    assert (https["Port"], https["Protocol"]) == (443, "HTTPS")
    assert https["Certificates"][0]["CertificateArn"] == summary["certificate_arn"]
    assert https["DefaultActions"][0]["TargetGroupArn"] == summary["target_group_arn"]
    redirect = http["DefaultActions"][0]["RedirectConfig"]
    assert (http["Port"], redirect["Protocol"], redirect["StatusCode"]) == (80, "HTTPS", "HTTP_301")
    known = clients.acm.get_certificate(CertificateArn=summary["certificate_arn"])["Certificate"]
    assert known == certificate_files.body.read_text()


def test_a_second_run_changes_nothing(description: Description, clients: Clients) -> None:
    first = fill(description, clients)
    second = fill(description, clients)
    assert second.pop("changed") == []
    assert first.pop("changed") != []
    assert second == first


def test_another_description_is_brought_about(description: Description, clients: Clients, tmp_path: Path) -> None:
    first = fill(description, clients)
    make_certificate(tmp_path, "amy.sandbox.test")
    second = fill(replace(description, health_path="/healthz/", deregistration_delay=30), clients)
    assert second["changed"] == ["certificate", "health check of amy-sandbox", "deregistration delay"]
    assert second["certificate_arn"] == first["certificate_arn"]


def test_another_stage_gets_the_same_hosts_and_a_balancer_of_its_name(
    description: Description, clients: Clients
) -> None:
    first = fill(description, clients)
    second = fill(replace(description, stage="production"), clients)
    assert instances(clients, Stage="sandbox") == {}
    assert second["instances"] == first["instances"]
    assert set(instances(clients, Stage="production")) == set(first["instances"])
    balancers = clients.elb.describe_load_balancers()["LoadBalancers"]
    groups = clients.elb.describe_target_groups()["TargetGroups"]
    assert [one["LoadBalancerName"] for one in balancers] == ["amy-production"]
    assert [one["TargetGroupName"] for one in groups] == ["amy-production"]
    assert second["certificate_arn"] == first["certificate_arn"]
    assert fill(replace(description, stage="production"), clients)["changed"] == []


def test_other_applications_are_left_alone(description: Description, clients: Clients) -> None:
    fill(replace(description, application="redash", hosts=()), clients)
    fill(description, clients)
    names = {one["LoadBalancerName"] for one in clients.elb.describe_load_balancers()["LoadBalancers"]}
    assert names == {"redash-sandbox", "amy-sandbox"}


def test_the_program_prints_what_there_is(
    description: Description, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "account.yml"), "--stage", "production"]
    assert main(arguments, LOCAL, lambda region: clients) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["target_group_name"] == "amy-production"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": None}, "the description: missing: stage"),
        ({"colour": "blue"}, "the description: unknown: colour; known: application, stage"),
        ({"hosts": [{"name": "web-1"}]}, "hosts, number 1: missing: address, zone, roles"),
        (
            {"hosts": [{"name": "web-1", "address": "10.77.2.11", "zone": "eu-west-1a", "roles": []}]},
            "host web-1: address 10.77.2.11 is not in eu-west-1a's 10.77.1.0/24",
        ),
        (
            {"hosts": [{"name": "web-1", "address": "10.77.2.11", "zone": "mars", "roles": []}]},
            "host web-1: zone is 'mars', must be one of eu-west-1a",
        ),
        ({"certificate": "balancer.crt"}, "certificate: must be a mapping, is 'balancer.crt'"),
    ],
)
def test_a_wrong_description_is_refused_with_the_place_and_the_remedy(change: dict[str, Any], message: str) -> None:
    content = yaml.safe_load(EXAMPLE.read_text()) | change
    with pytest.raises(DescriptionError, match=message.replace("(", r"\(")):
        parse({name: value for name, value in content.items() if value is not None}, Path())


def test_a_description_that_is_not_there_is_an_error_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "absent.yml")], LOCAL) == 2
    assert "absent.yml cannot be read" in capsys.readouterr().err


def test_a_certificate_that_is_not_there_is_named(
    description: Description, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description.certificate.private_key.unlink()
    assert main([str(tmp_path / "account.yml")], LOCAL, lambda region: clients) == 2
    assert "balancer.key cannot be read: No such file" in capsys.readouterr().err


def test_the_real_aws_is_never_filled(description: Description, tmp_path: Path, capsys: Any) -> None:
    assert main([str(tmp_path / "account.yml")], {}) == 2
    assert "AWS_ENDPOINT_URL is not set" in capsys.readouterr().err


def test_an_endpoint_that_does_not_answer_is_named(
    description: Description, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(region: str) -> Clients:
        raise EndpointConnectionError(endpoint_url=LOCAL["AWS_ENDPOINT_URL"])

    assert main([str(tmp_path / "account.yml")], LOCAL, unreachable) == 1
    assert "http://10.77.0.10:5000" in capsys.readouterr().err
