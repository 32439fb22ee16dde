"""Who is told what arrives at a real server; what does not arrive is a warning, and no secret is in it."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.carpentries.webapps.plugins.modules import deploy_notification

Run = Callable[..., dict[str, Any]]
SECRET, TOKEN = "sign-this-0123456789", "ghp_0123456789abcdef"
ABOUT = {
    "application": "amy", "stage": "production", "domain": "amy.example.org", "version": "v4.2.0", "commit": "c" * 40,
    "release": "3f2a1b9c0d-9f8e7d6c", "run": "r1", "who": "alice@laptop",
}  # fmt: skip


@dataclass
class Server:
    """An HTTP server that records what arrives, and answers as GitHub does."""

    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    drip: bool = False
    url: str = ""

    def answer(self, method: str, path: str, body: Any) -> Any:
        if method == "GET":
            return [{**one, "payload": json.dumps(one["payload"])} for one in self.deployments]
        if path.endswith("/deployments"):
            self.deployments.insert(0, {**body, "id": len(self.deployments) + 1})
            return self.deployments[0]
        return {"message": "No access for ghp_0123456789abcdef"}


@pytest.fixture
def server() -> Iterator[Server]:
    record = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else None
            headers = {**self.headers, "body": content.decode()}
            record.requests.append((self.command, self.path, headers, body))
            answer = json.dumps(record.answer(self.command, self.path.split("?")[0], body)).encode()
            self.send_response(record.status)
            self.send_header("Content-Length", str(len(answer)))
            if record.status == 302:
                self.send_header("Location", f"{record.url}/elsewhere")
            self.end_headers()
            for byte in answer:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.3 if record.drip else 0)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    record.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield record
    http.shutdown()
    http.server_close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the module with these notifications and returns the JSON it prints."""

    def call(event: str, *notifications: dict[str, Any], check: bool = False, **about: str) -> dict[str, Any]:
        arguments = {
            "event": event, "about": {**ABOUT, **about}, "notifications": list(notifications), "timeout": 1,
            "_ansible_check_mode": check,
        }  # fmt: skip
        with patch_module_args(arguments), pytest.raises(SystemExit):
            deploy_notification.main()
        printed = capsys.readouterr().out
        assert SECRET not in printed
        assert TOKEN not in printed
        assert "T0/B0/xyzzy" not in printed
        result: dict[str, Any] = json.loads(printed)
        return result

    return call


def webhook(server: Server) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{server.url}/T0/B0/xyzzy", "secret": SECRET}


def slack(server: Server) -> dict[str, Any]:
    return {"type": "slack", "url": f"{server.url}/T0/B0/xyzzy"}


def github(server: Server) -> dict[str, Any]:
    return {"type": "github", "repository": "carpentries/amy", "token": TOKEN, "api_url": f"{server.url}/"}


def test_a_webhook_gets_a_document_that_its_secret_signs(server: Server, run: Run) -> None:
    result = run("start", webhook(server))
    assert result["told"] == ["webhook 127.0.0.1"]
    assert result["changed"] is False
    [(method, path, headers, body)] = server.requests
    assert (method, path) == ("POST", "/T0/B0/xyzzy")
    assert headers["Content-Type"] == "application/json"
    expected = hmac.new(SECRET.encode(), headers["body"].encode(), hashlib.sha256).hexdigest()
    assert headers["X-Webapps-Signature-256"] == f"sha256={expected}"
    assert body.pop("at").endswith("Z")
    text = "amy (production): alice@laptop deploys v4.2.0."
    assert body == {**ABOUT, "event": "start", "text": text, "reason": "deploy", "cause": "", "returned_to": ""}


def test_a_webhook_without_a_secret_is_not_signed(server: Server, run: Run) -> None:
    run("start", {"type": "webhook", "url": server.url})
    assert "X-Webapps-Signature-256" not in server.requests[0][2]


@pytest.mark.parametrize(
    ("event", "about", "text"),
    [
        ("start", {}, "amy (production): alice@laptop deploys v4.2.0."),
        ("success", {}, "amy (production) runs v4.2.0 now (3f2a1b9c0d-9f8e7d6c)."),
        ("failure", {"cause": "<b> & no"}, "amy (production): the deploy of v4.2.0 failed. &lt;b&gt; &amp; no"),
        (
            "rollback",
            {"cause": "It answers 500.", "returned_to": "v4.1.0"},
            "amy (production): the deploy of v4.2.0 failed. The fleet went back to v4.1.0. It answers 500.",
        ),
        ("start", {"reason": "rollback"}, "amy (production): alice@laptop goes back to v4.2.0."),
        ("rollback", {"reason": "rollback"}, "amy (production) runs v4.2.0 now (3f2a1b9c0d-9f8e7d6c)."),
        (
            "failure",
            {"reason": "rollback"},
            "amy (production): going back to v4.2.0 failed. The cause is in the output of the run.",
        ),
    ],
)
def test_slack_gets_a_sentence(server: Server, run: Run, event: str, about: dict[str, str], text: str) -> None:
    run(event, slack(server), **about)
    assert [body for *_others, body in server.requests] == [{"text": text}]


@pytest.mark.parametrize(
    ("event", "reason", "state"),
    [
        ("success", "deploy", "success"),
        ("failure", "deploy", "failure"),
        ("rollback", "deploy", "failure"),
        ("rollback", "rollback", "success"),
    ],
)
def test_github_gets_one_deployment_a_run_and_its_states(
    server: Server, run: Run, event: str, reason: str, state: str
) -> None:
    server.deployments.append({"id": 1, "payload": {"run": "r0"}})
    run("start", github(server), reason=reason)
    run(event, github(server), reason=reason)
    [created, _other] = server.deployments
    assert created["ref"] == "c" * 40
    assert created["environment"] == "production"
    assert created["auto_merge"] is False
    assert created["required_contexts"] == []
    said = [(path, body["state"]) for _method, path, _headers, body in server.requests if path.endswith("/statuses")]
    assert said == [
        ("/repos/carpentries/amy/deployments/2/statuses", "in_progress"),
        ("/repos/carpentries/amy/deployments/2/statuses", state),
    ]
    assert {headers["Authorization"] for _method, _path, headers, _body in server.requests} == {f"Bearer {TOKEN}"}


def test_github_takes_long_causes_shortened(server: Server, run: Run) -> None:
    run("failure", github(server), cause="why " * 200)
    assert len(server.requests[-1][3]["description"]) == 140


@pytest.mark.parametrize("status", [302, 401, 500])
def test_a_refusal_is_a_warning_and_the_others_are_told(server: Server, run: Run, status: int) -> None:
    server.status = status
    result = run("start", webhook(server), github(server))
    assert "failed" not in result
    assert [one["label"] for one in result["untold"]] == ["webhook 127.0.0.1", "github carpentries/amy"]
    assert f"it answered {status}" in result["untold"][0]["problem"]
    assert "was not told of start" in str(result["warnings"][-1])
    # A redirection is not followed.
    assert {path.split("?")[0] for _method, path, *_others in server.requests} == {
        "/T0/B0/xyzzy",
        "/repos/carpentries/amy/deployments",
    }


def test_what_a_server_says_is_told_without_the_token(server: Server, run: Run) -> None:
    server.status = 403
    server.answer = lambda *_request: {"message": f"No access for {TOKEN}"}  # type: ignore[method-assign]
    assert "403 Forbidden, No access for ***" in run("start", github(server))["untold"][0]["problem"]


def test_a_server_that_is_not_there_is_a_warning(run: Run) -> None:
    result = run("success", {"type": "webhook", "url": "http://127.0.0.1:9/T0/B0/xyzzy"})
    assert "cannot be reached" in result["untold"][0]["problem"]
    assert "failed" not in result


def test_a_server_that_drips_holds_nobody_up(server: Server, run: Run) -> None:
    server.drip = True
    began = time.monotonic()
    result = run("success", webhook(server))
    assert time.monotonic() - began < 5
    assert result["untold"][0]["problem"] == "no answer in 1 s"


def test_who_does_not_want_to_know_is_not_told(server: Server, run: Run) -> None:
    result = run("start", {**webhook(server), "events": ["failure"]})
    assert (result["told"], result["summary"], server.requests) == ([], "", [])


def test_check_mode_tells_nobody_and_says_who_would_be(server: Server, run: Run) -> None:
    result = run("start", webhook(server), github(server), check=True)
    assert server.requests == []
    assert result["summary"] == (
        "In check mode nobody is told; start would go to webhook 127.0.0.1, github carpentries/amy."
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "slack"}, "(slack), has no url"),
        ({"type": "webhook", "url": "T0/B0/xyzzy"}, "url that is no address"),
        ({"type": "webhook", "url": "file:///T0/B0/xyzzy"}, "url that is no address"),
        ({"type": "github", "token": TOKEN}, "has no repository"),
        ({"type": "github", "token": f"{TOKEN}\n", "repository": "carpentries/amy"}, "in token: remove it"),
        ({"type": "github", "token": TOKEN, "repository": "amy"}, 'the repository "amy"'),
        (
            {"type": "github", "token": TOKEN, "repository": "carpentries/amy", "events": ["start", "success"]},
            "add failure, rollback to events",
        ),
    ],
)
def test_a_notification_that_cannot_be_made_is_refused_in_words(run: Run, given: dict[str, Any], words: str) -> None:
    result = run("start", given)
    assert result["failed"]
    assert words in result["msg"]
