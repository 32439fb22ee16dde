"""The log of API calls."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.calls import Call, CallLog, describe, reads
from sandbox.aws.journal import Journal

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def signed(service: str, **headers: str) -> dict[str, str]:
    scope = f"AWS4-HMAC-SHA256 Credential=testing/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host"
    return {"authorization": scope} | {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        (
            ("POST", "/", "", signed("ec2", content_type=FORM), b"Action=DescribeInstances&Version=1&Filter.1.Name=x"),
            Call("ec2", "DescribeInstances", ("Filter.1.Name",), writes=False),
        ),
        (
            ("POST", "/", "", signed("elasticloadbalancing", content_type=FORM), b"Action=RegisterTargets&A=1"),
            Call("elasticloadbalancing", "RegisterTargets", ("A",), writes=True),
        ),
        (
            ("POST", "/", "", signed("ec2", content_type=FORM), b"Action=RunInstances&DryRun=true"),
            Call("ec2", "RunInstances", ("DryRun",), writes=False),
        ),
        (
            (
                "POST",
                "/",
                "",
                signed("acm", x_amz_target="CertificateManager.ImportCertificate"),
                b'{"PrivateKey": "secret", "Certificate": "x"}',
            ),
            Call("acm", "ImportCertificate", ("Certificate", "PrivateKey"), writes=True),
        ),
        (
            ("GET", "/2013-04-01/hostedzone", "maxitems=1", signed("route53"), b""),
            Call("route53", "GET /2013-04-01/hostedzone", ("maxitems",), writes=False),
        ),
        (("PUT", "/bucket/key", "", signed("s3"), b"data"), Call("s3", "PUT /bucket/key", (), writes=True)),
        (("POST", "/moto-api/reset", "", {}, b""), Call("unsigned", "POST /moto-api/reset", (), writes=True)),
    ],
)
def test_every_dialect_of_aws_is_understood(request_: tuple[Any, ...], call: Call) -> None:
    assert describe(*request_) == call


@pytest.mark.parametrize("action", ["DescribeTargetHealth", "ListCertificates", "GetCallerIdentity", "HeadObject"])
def test_actions_that_read_are_known_by_their_name(action: str) -> None:
    assert reads(action)


@pytest.mark.parametrize("action", ["RegisterTargets", "CreateTags", "ImportCertificate", "AssumeRole", "Frobnicate"])
def test_any_other_action_counts_as_writing(action: str) -> None:
    assert not reads(action)


def test_a_call_is_logged_with_its_status_and_the_application_still_gets_the_body(tmp_path: Path) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("404 NOT FOUND", [])
        return [bytes(environ["wsgi.input"].read())]

    body = b"Action=DeregisterTargets&Targets.member.1.Id=i-1"
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    log = CallLog(application, Journal(tmp_path / "calls.jsonl", clock=lambda: 12.0))
    assert log(environ, lambda *given: None) == [body]
    assert json.loads((tmp_path / "calls.jsonl").read_text()) == {
        "time": 12.0,
        "service": "unsigned",
        "action": "DeregisterTargets",
        "parameters": ["Targets.member.1.Id"],
        "kind": "write",
        "status": 404,
    }
