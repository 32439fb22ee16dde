"""AWS's bad days, as boto3 meets them: what a test orders is what a client gets."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.aws.calls import CallLog
from sandbox.aws.journal import Journal
from sandbox.aws.trouble import Trouble

GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/amy/0123456789abcdef"
TARGETS = [{"Id": "i-1"}]
HEALTHY = b"<Response><DescribeTargetHealthResult/></Response>"


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Aws:
    """The endpoint's middleware before an application that answers everything with 200."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.slept: list[float] = []
        trouble = Trouble(directory / "trouble.json", self.slept.append)
        application = CallLog(self.good, Journal(directory / "calls.jsonl"), trouble)
        self.server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @staticmethod
    def good(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(HEALTHY)))])
        return [HEALTHY]

    def order(self, *orders: dict[str, Any]) -> None:
        (self.directory / "trouble.json").write_text(json.dumps(orders))

    def client(self, service: str) -> Any:
        client: Any = boto3.client
        return client(
            service, "eu-west-1", endpoint_url=f"http://127.0.0.1:{self.server.port}",
            aws_access_key_id="testing", aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def statuses(self) -> list[tuple[str, int]]:
        lines = (self.directory / "calls.jsonl").read_text().splitlines()
        return [(call["action"], call["status"]) for call in map(json.loads, lines)]


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    aws = Aws(tmp_path)
    yield aws
    aws.server.shutdown()
    aws.server.server_close()


def refused(aws: Aws, service: str, action: str, **sent: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service), action)(**sent)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_so_many_calls_fail_and_the_next_goes_through_and_all_are_in_the_journal(aws: Aws) -> None:
    aws.order({"id": "1", "action": "DescribeTargetHealth", "code": "Throttling", "calls": 2})
    for _call in range(2):
        answer = refused(aws, "elbv2", "describe_target_health", TargetGroupArn=GROUP)
        assert answer == (400, "Throttling", "Rate exceeded")
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)
    assert aws.statuses() == [("DescribeTargetHealth", status) for status in (400, 400, 200)]


def test_an_order_may_begin_after_calls_that_go_well(aws: Aws) -> None:
    aws.order({"id": "1", "action": "DescribeTargetHealth", "code": "InternalFailure", "after": 1, "calls": 1})
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)
    assert refused(aws, "elbv2", "describe_target_health", TargetGroupArn=GROUP)[0] == 500
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)


def test_an_order_without_a_number_holds_until_it_is_gone(aws: Aws) -> None:
    order = {"action": "DescribeTargetHealth", "code": "InternalFailure"}
    aws.order({"id": "1", **order})
    assert refused(aws, "elbv2", "describe_target_health", TargetGroupArn=GROUP)[:2] == (500, "InternalFailure")
    aws.order()
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)
    (aws.directory / "trouble.json").unlink()
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)


def test_other_actions_and_later_orders_are_counted_by_themselves(aws: Aws) -> None:
    first = {"id": "1", "action": "RegisterTargets", "code": "Throttling", "calls": 1}
    aws.order(first, {**first, "id": "2", "code": "ServiceUnavailable"})
    aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)
    codes = [refused(aws, "elbv2", "register_targets", TargetGroupArn=GROUP, Targets=TARGETS)[1] for _ in range(2)]
    assert codes == ["Throttling", "ServiceUnavailable"]


def test_a_denied_right_is_told_with_user_right_and_resource(aws: Aws) -> None:
    aws.order({"id": "1", "action": "DeregisterTargets", "code": "AccessDenied"})
    status, code, message = refused(aws, "elbv2", "deregister_targets", TargetGroupArn=GROUP, Targets=TARGETS)
    assert (status, code) == (403, "AccessDenied")
    assert "user/sandbox is not authorized to perform: elasticloadbalancing:DeregisterTargets" in message
    assert f"on resource: {GROUP} because" in message


@pytest.mark.parametrize(
    ("service", "action", "sent", "code", "answer"),
    [
        ("ec2", "describe_instances", {}, "Throttling", (503, "RequestLimitExceeded")),
        ("ec2", "describe_instances", {}, "InternalFailure", (500, "InternalError")),
        ("ec2", "describe_instances", {}, "AccessDenied", (403, "UnauthorizedOperation")),
        ("cloudwatch", "describe_alarms", {}, "Throttling", (400, "ThrottlingException")),
        ("ssm", "get_parameter", {"Name": "x"}, "AccessDenied", (403, "AccessDeniedException")),
        ("autoscaling", "describe_auto_scaling_groups", {}, "Throttling", (400, "Throttling")),
    ],
)
def test_every_service_has_its_own_words_for_it(
    aws: Aws, service: str, action: str, sent: dict[str, Any], code: str, answer: tuple[int, str]
) -> None:
    name = "".join(word.capitalize() for word in action.split("_"))
    aws.order({"id": "1", "action": name, "code": code})
    assert refused(aws, service, action, **sent)[:2] == answer


def test_a_slow_call_is_answered_all_the_same(aws: Aws) -> None:
    aws.order({"id": "1", "action": "DescribeTargetHealth", "delay": 20, "calls": 1})
    for _call in range(2):
        aws.client("elbv2").describe_target_health(TargetGroupArn=GROUP)
    assert aws.slept == [20]


@pytest.mark.parametrize("order", ["{", '[{"id": "1"}]', '[{"id": "1", "action": "X", "code": "Tired"}]'])
def test_an_order_that_nobody_understands_fails_every_call(tmp_path: Path, order: str) -> None:
    (tmp_path / "trouble.json").write_text(order)
    log = CallLog(Aws.good, Journal(tmp_path / "calls.jsonl"), Trouble(tmp_path / "trouble.json"))
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO()}
    started: list[str] = []
    body = b"".join(log(environ, lambda status, headers: started.append(status)))
    assert started == ["400 Bad Request"]
    assert b"trouble.json: " in body
