"""The endpoint as a program: API, HAProxy and targets on loopback, watched from outside.

Run by path: `pytest tests/integration/aws_endpoint`. Needs haproxy and openssl. Health checks run at AWS's own pace
(every five seconds at most), so this takes about two minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest

PROJECT = Path(__file__).parents[3]
DOMAIN = "amy.sandbox.test"
PATIENCE = 60.0
"""Seconds after which something that should have happened is called missing; no test asserts a duration."""

DELAY = 5
"""The groups' deregistration delay, in seconds."""

T = TypeVar("T")


def eventually(look: Callable[[], T], met: Callable[[T], bool]) -> T:
    """Return what `look` sees once it meets the condition."""
    deadline = time.monotonic() + PATIENCE
    while not met(seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {PATIENCE} s"
        time.sleep(0.05)
    return seen


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Server(ThreadingHTTPServer):
    """Says nothing about connections that the balancer closes."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Target:
    """A web application at a loopback address of its own.

    /alive/ is its health, `/?seconds=N` takes N seconds, every other answer tells the request's headers.
    """

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.status = 200
        self.frozen = threading.Event()
        self.checks: list[str] = []
        self.started = threading.Semaphore(0)
        self.connections: set[int] = set()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                target.answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = Server((address, port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        status = 200
        if url.path == "/alive/":
            self.checks.append(request.headers["Host"])
            if self.frozen.is_set():
                time.sleep(PATIENCE)
            status = self.status
        else:
            self.connections.add(request.client_address[1])
            self.started.release()
            time.sleep(float(parse_qs(url.query).get("seconds", ["0"])[0]))
        body = json.dumps({"target": self.address, "headers": dict(request.headers)}).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Endpoint:
    """The running endpoint: clients for its API, its listeners' ports, its logs."""

    directory: Path
    offset: int
    elb: Any
    ec2: Any
    acm: Any
    certificate: Path
    key: Path

    def journal(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / f"{name}.jsonl").read_text().splitlines()]


@dataclass
class Service:
    """A target group behind a listener of its own, and its targets."""

    endpoint: Endpoint
    group: str
    port: int
    targets: list[Target] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port + self.endpoint.offset}"

    def register(self, target: Target) -> None:
        self.endpoint.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": target.address}])

    def deregister(self, target: Target) -> None:
        self.endpoint.elb.deregister_targets(TargetGroupArn=self.group, Targets=[{"Id": target.address}])

    def health(self, target: Target) -> tuple[str, str | None, str | None]:
        """Return (state, reason code, description) as the API has them."""
        answer = self.endpoint.elb.describe_target_health(TargetGroupArn=self.group, Targets=[{"Id": target.address}])
        found = answer["TargetHealthDescriptions"][0]["TargetHealth"]
        return found["State"], found.get("Reason"), found.get("Description")

    def until(self, target: Target, state: str) -> tuple[str, str | None, str | None]:
        return eventually(lambda: self.health(target), lambda health: health[0] == state)

    def transitions(self, target: Target) -> list[tuple[str | None, str, str | None]]:
        """Return the logged changes of a target as (from, to, reason)."""
        name = self.group.split("/")[1]
        return [
            (entry["from"], entry["to"], entry["reason"])
            for entry in self.endpoint.journal("transitions")
            if (entry["group"], entry["target"]) == (name, target.address)
        ]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    directory = tmp_path_factory.mktemp("aws")
    certificate, key = directory / "balancer.crt", directory / "balancer.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={DOMAIN}",
         "-addext", f"subjectAltName=DNS:{DOMAIN}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    api_port, offset = free_port(), free_port() - 443
    program = subprocess.Popen(
        [sys.executable, "-m", "sandbox.aws.endpoint", "--api-port", str(api_port), "--offset", str(offset),
         "--state-dir", str(directory)],
        cwd=PROJECT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    access = {
        "endpoint_url": f"http://127.0.0.1:{api_port}",
        "region_name": "eu-west-1",
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
    }
    clients = {
        name: boto3.client(service, **access) for name, service in [("elb", "elbv2"), ("ec2", "ec2"), ("acm", "acm")]
    }
    try:
        eventually(lambda: _accepts(api_port) or program.poll() is not None, bool)
        assert program.poll() is None, "the endpoint did not start; its output is above"
        yield Endpoint(directory, offset, certificate=certificate, key=key, **clients)
        assert program.poll() is None, "the endpoint ended during the tests"
    finally:
        program.terminate()
        program.wait(timeout=PATIENCE)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def balancer(endpoint: Endpoint) -> str:
    zones = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in endpoint.ec2.describe_subnets()["Subnets"]}
    made = endpoint.elb.create_load_balancer(Name="loopback", Subnets=list(zones.values())[:2])
    return str(made["LoadBalancers"][0]["LoadBalancerArn"])


_numbers = itertools.count(1)


@pytest.fixture
def service(endpoint: Endpoint, balancer: str) -> Iterator[Service]:
    """A new group with two targets, of which none is registered, behind an HTTP listener."""
    number, port = next(_numbers), free_port("127.0.0.2")
    group = endpoint.elb.create_target_group(
        Name=f"service-{number}", Protocol="HTTP", Port=port, TargetType="ip",
        VpcId=endpoint.ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        HealthCheckPath="/alive/", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2, UnhealthyThresholdCount=2, Matcher={"HttpCode": "200"},
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    endpoint.elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(DELAY)}]
    )
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    # An AWS port whose local port is free: AWS's is what the API says, the offset is ours.
    listener_port = free_port() - endpoint.offset
    if not 1 <= listener_port <= 65535:
        listener_port = 8000 + number
    endpoint.elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=listener_port, DefaultActions=forward)
    targets = [Target(address, port) for address in ("127.0.0.2", "127.0.0.3")]
    yield Service(endpoint, group, listener_port, targets)
    for target in targets:
        target.stop()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def slow_request(pool: ThreadPoolExecutor, service: Service, target: Target, seconds: float) -> Future[httpx.Response]:
    """Send a request that takes some seconds, and return once the target has it."""
    answer = pool.submit(httpx.get, f"{service.url}/?seconds={seconds}", timeout=PATIENCE)
    assert target.started.acquire(timeout=PATIENCE)
    return answer


def test_a_new_target_is_initial_and_becomes_healthy_with_its_first_passed_check(service: Service) -> None:
    target, never_registered = service.targets
    assert service.health(target)[:2] == ("unused", "Target.NotRegistered")
    service.register(target)
    assert service.health(target)[:2] == ("initial", "Elb.RegistrationInProgress")
    assert service.until(target, "healthy") == ("healthy", None, None)
    assert target.checks == [target.address], "one check, with the target's address as its Host, as an ALB's"
    assert [to for _from, to, _reason in service.transitions(target)] == ["initial", "initial", "healthy"]
    assert service.transitions(target)[1] == ("initial", "initial", "Elb.InitialHealthChecking")
    assert httpx.get(service.url).json()["target"] == target.address
    assert service.health(never_registered)[:2] == ("unused", "Target.NotRegistered")


def test_clients_share_the_connections_to_a_target_as_behind_an_alb(service: Service) -> None:
    target = service.targets[0]
    service.register(target)
    service.until(target, "healthy")
    for _request in range(5):
        httpx.get(service.url)
    assert len(target.connections) == 1


def test_a_group_without_a_healthy_target_answers_503(service: Service) -> None:
    target = service.targets[0]
    target.status = 500
    assert eventually(lambda: _status(service.url), lambda status: status is not None) == 503
    service.register(target)
    assert service.until(target, "unhealthy")[1:] == (
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [500]",
    )
    answer = httpx.get(service.url)
    assert answer.status_code == 503
    assert answer.headers["server"] == "awselb/2.0"


def _status(url: str) -> int | None:
    try:
        return httpx.get(url).status_code
    except httpx.ConnectError:
        return None


def test_traffic_still_reaches_a_target_that_has_just_been_deregistered(service: Service) -> None:
    target = service.targets[0]
    service.register(target)
    service.until(target, "healthy")
    service.deregister(target)
    assert service.health(target)[:2] == ("draining", "Target.DeregistrationInProgress")
    assert httpx.get(service.url).json()["target"] == target.address, "the data plane has not heard of it yet"
    eventually(lambda: httpx.get(service.url).status_code, lambda status: status == 503)
    assert service.health(target)[0] == "draining", "an idle target drains for the whole delay"
    assert service.until(target, "unused")[1] == "Target.NotRegistered"


def test_requests_in_flight_finish_while_a_target_drains_and_are_cut_at_the_end(
    service: Service, background: ThreadPoolExecutor
) -> None:
    target = service.targets[0]
    service.register(target)
    service.until(target, "healthy")
    short = slow_request(background, service, target, 3)
    long = slow_request(background, service, target, DELAY + 15)
    service.deregister(target)
    assert short.result().json()["target"] == target.address
    assert service.health(target)[0] == "draining"
    assert not long.done()
    service.until(target, "unused")
    assert long.result().status_code == 502
    assert target.address not in json.dumps(long.result().text)


def test_registering_a_draining_target_cancels_the_drain(service: Service) -> None:
    target = service.targets[0]
    service.register(target)
    service.until(target, "healthy")
    service.deregister(target)
    eventually(lambda: httpx.get(service.url).status_code, lambda status: status == 503)
    service.register(target)
    assert service.health(target)[:2] == ("initial", "Elb.RegistrationInProgress")
    service.until(target, "healthy")
    time.sleep(DELAY)
    assert service.health(target)[0] == "healthy"
    assert httpx.get(service.url).status_code == 200
    assert "unused" not in [to for _from, to, _reason in service.transitions(target)]


def test_a_target_that_answers_wrongly_leaves_and_returns(service: Service) -> None:
    target, other = service.targets
    for one in (target, other):
        service.register(one)
    for one in (target, other):
        service.until(one, "healthy")
    target.status = 503
    assert service.until(target, "unhealthy")[1:] == (
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [503]",
    )
    assert {httpx.get(service.url).json()["target"] for _request in range(6)} == {other.address}
    target.status = 200
    service.until(target, "healthy")
    assert {httpx.get(service.url).json()["target"] for _request in range(6)} == {target.address, other.address}


def test_a_stopped_and_a_frozen_target_are_told_apart(service: Service) -> None:
    stopped, frozen = service.targets
    for one in service.targets:
        service.register(one)
    for one in service.targets:
        service.until(one, "healthy")
    stopped.stop()
    frozen.frozen.set()
    statuses = {httpx.get(service.url).status_code for _request in range(4)}
    assert statuses == {200, 502}, "a refused connection is a 502, and is not tried elsewhere"
    assert service.until(stopped, "unhealthy")[1:] == ("Target.FailedHealthChecks", "Health checks failed")
    assert service.until(frozen, "unhealthy")[1:] == ("Target.Timeout", "Request timed out")


def test_a_new_listener_disturbs_neither_requests_nor_health(
    service: Service, endpoint: Endpoint, balancer: str, background: ThreadPoolExecutor
) -> None:
    target, drained = service.targets
    for one in service.targets:
        service.register(one)
    for one in service.targets:
        service.until(one, "healthy")
    service.deregister(drained)
    service.until(drained, "unused")
    before = service.transitions(target)
    running = slow_request(background, service, target, 3)
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418", "MessageBody": "tea"}}
    endpoint.elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=7, DefaultActions=[fixed])
    url = f"http://127.0.0.1:{7 + endpoint.offset}"
    assert eventually(lambda: _status(url), lambda status: status is not None) == 418
    assert {httpx.get(service.url).json()["target"] for _request in range(6)} == {target.address}
    assert running.result().status_code == 200
    assert service.transitions(target) == before


def test_tls_is_terminated_with_the_certificate_of_acm(service: Service, endpoint: Endpoint, balancer: str) -> None:
    target = service.targets[0]
    service.register(target)
    imported = endpoint.acm.import_certificate(
        Certificate=endpoint.certificate.read_bytes(), PrivateKey=endpoint.key.read_bytes()
    )
    endpoint.elb.create_listener(
        LoadBalancerArn=balancer, Protocol="HTTPS", Port=443,
        Certificates=[{"CertificateArn": imported["CertificateArn"]}],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": service.group}],
    )  # fmt: skip
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    endpoint.elb.create_listener(
        LoadBalancerArn=balancer, Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "redirect", "RedirectConfig": redirect}],
    )  # fmt: skip
    service.until(target, "healthy")
    trusting = ssl.create_default_context(cafile=str(endpoint.certificate))
    with httpx.Client(verify=trusting) as client:
        answer = client.get(
            f"https://127.0.0.1:{443 + endpoint.offset}/",
            headers={"Host": DOMAIN, "X-Forwarded-For": "192.0.2.7"},
            extensions={"sni_hostname": DOMAIN},
        )
    headers = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert headers["host"] == DOMAIN
    assert headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-port"] == "443"
    plain = httpx.get(f"http://127.0.0.1:{80 + endpoint.offset}/a/b?c=d", headers={"Host": DOMAIN})
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://{DOMAIN}:443/a/b?c=d")


def test_a_stopped_instance_is_unused(service: Service, endpoint: Endpoint, balancer: str) -> None:
    image = endpoint.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = endpoint.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    group = endpoint.elb.create_target_group(
        Name="instances", Protocol="HTTP", Port=80, VpcId=made["VpcId"], TargetType="instance"
    )["TargetGroups"][0]["TargetGroupArn"]
    instance = [{"Id": made["InstanceId"]}]

    def health() -> tuple[str, str | None]:
        answer = endpoint.elb.describe_target_health(TargetGroupArn=group, Targets=instance)
        found = answer["TargetHealthDescriptions"][0]["TargetHealth"]
        return found["State"], found.get("Reason")

    endpoint.elb.register_targets(TargetGroupArn=group, Targets=instance)
    assert health() == ("unused", "Target.NotInUse")
    endpoint.elb.create_listener(
        LoadBalancerArn=balancer, Protocol="HTTP", Port=9,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )  # fmt: skip
    eventually(health, lambda seen: seen[0] == "initial")
    endpoint.ec2.stop_instances(InstanceIds=[made["InstanceId"]])
    eventually(health, lambda seen: seen == ("unused", "Target.InvalidState"))


def test_the_log_of_calls_tells_reading_from_writing_and_keeps_no_values(service: Service, endpoint: Endpoint) -> None:
    before = len(endpoint.journal("calls"))
    service.health(service.targets[0])
    endpoint.ec2.describe_instances()
    assert [call["kind"] for call in endpoint.journal("calls")[before:]] == ["read", "read"]
    service.register(service.targets[0])
    endpoint.acm.import_certificate(Certificate=endpoint.certificate.read_bytes(), PrivateKey=endpoint.key.read_bytes())
    registered, imported = endpoint.journal("calls")[before + 2 :]
    assert (registered["service"], registered["action"]) == ("elasticloadbalancing", "RegisterTargets")
    assert registered["parameters"] == ["TargetGroupArn", "Targets.member.1.Id"]
    assert (imported["service"], imported["action"], imported["kind"]) == ("acm", "ImportCertificate", "write")
    assert imported["parameters"] == ["Certificate", "PrivateKey"]
    assert set(registered) == {"time", "service", "action", "parameters", "kind", "status"}
