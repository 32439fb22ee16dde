"""The client of supervisord, against a server that speaks XML-RPC over a real unix socket."""

from __future__ import annotations

import socketserver
import tempfile
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    Process,
    Supervisor,
    SupervisorError,
    SupervisorNotRunningError,
)

Answers = dict[str, Callable[..., Any]]


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    disable_nagle_algorithm = False

    def address_string(self) -> str:
        return "unix"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


class Server(socketserver.ThreadingUnixStreamServer, SimpleXMLRPCDispatcher):
    def __init__(self, path: str) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=False)
        socketserver.ThreadingUnixStreamServer.__init__(self, path, Handler)


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], Supervisor]]:
    """Starts a supervisord that answers calls as it is told to."""
    servers: list[Server] = []
    with tempfile.TemporaryDirectory() as directory:

        def start(answers: Answers) -> Supervisor:
            path = str(Path(directory) / "supervisor.sock")
            server = Server(path)
            for name, function in answers.items():
                server.register_function(function, f"supervisor.{name}")
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            servers.append(server)
            return Supervisor(path)

        yield start
        for server in servers:
            server.shutdown()
            server.server_close()


def fault(code: int, text: str) -> Callable[..., object]:
    def answer(*_arguments: object) -> object:
        raise xmlrpc.client.Fault(code, text)

    return answer


INFO = {
    "group": "g",
    "name": "g_00",
    "statename": "RUNNING",
    "pid": 7,
    "start": 100,
    "now": 160,
    "exitstatus": 0,
    "spawnerr": "",
    "stdout_logfile": "/log",
}


def test_processes_are_read_with_their_state_and_uptime(serve: Callable[[Answers], Supervisor]) -> None:
    (process,) = serve({"getAllProcessInfo": lambda: [INFO]}).processes()
    assert process == Process("g", "g_00", "RUNNING", 7, 100, 160, 0, "", "/log")
    assert process.uptime == 60
    assert str(process) == "g_00 RUNNING, pid 7"


def test_a_process_that_ended_tells_how() -> None:
    assert str(Process("g", "g", "EXITED", start=5, exit_status=3)) == "g EXITED, exit status 3"
    assert str(Process("g", "g", "FATAL", error="Exited too quickly")) == "g FATAL, Exited too quickly"
    assert Process("g", "g", "EXITED", start=5, now=9).uptime == 0


def test_calls_carry_the_group_and_never_wait(serve: Callable[[Answers], Supervisor]) -> None:
    calls: list[tuple[object, ...]] = []

    def note(name: str, result: object) -> Callable[..., object]:
        def answer(*arguments: object) -> object:
            calls.append((name, *arguments))
            return result

        return answer

    supervisor = serve(
        {
            "reloadConfig": note("reloadConfig", [[[], [], []]]),
            "addProcessGroup": note("addProcessGroup", True),
            "startProcessGroup": note("startProcessGroup", []),
            "stopProcessGroup": note("stopProcessGroup", []),
            "removeProcessGroup": note("removeProcessGroup", True),
            "readLog": note("readLog", "line"),
        }
    )
    supervisor.reread()
    supervisor.add("g")
    supervisor.start("g")
    supervisor.stop("g")
    assert supervisor.remove("g")
    assert supervisor.log_tail(100) == "line"
    assert calls == [
        ("reloadConfig",),
        ("addProcessGroup", "g"),
        ("startProcessGroup", "g", False),
        ("stopProcessGroup", "g", False),
        ("removeProcessGroup", "g"),
        ("readLog", -100, 0),
    ]


def test_what_is_done_already_is_no_error(serve: Callable[[Answers], Supervisor]) -> None:
    supervisor = serve(
        {
            "addProcessGroup": fault(90, "ALREADY_ADDED: g"),
            "removeProcessGroup": fault(10, "BAD_NAME: g"),
            "stopProcessGroup": fault(10, "BAD_NAME: g"),
            "startProcessGroup": lambda *_: [{"name": "g", "status": 60, "description": "ALREADY_STARTED"}],
        }
    )
    supervisor.add("g")
    assert supervisor.remove("g")
    supervisor.stop("g")
    supervisor.start("g")


def test_a_group_that_is_up_again_is_not_removed(serve: Callable[[Answers], Supervisor]) -> None:
    assert not serve({"removeProcessGroup": fault(91, "STILL_RUNNING: g")}).remove("g")


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        (
            "reread",
            {"reloadConfig": fault(92, "CANT_REREAD: Invalid user name x in section 'program:y'")},
            "Invalid user",
        ),
        ("reread", {"reloadConfig": fault(6, "SHUTDOWN_STATE")}, "shutting down"),
        ("add", {"addProcessGroup": fault(10, "BAD_NAME: g")}, r"must include conf\.d"),
        ("add", {"addProcessGroup": fault(30, "FAILED")}, r"refused addProcessGroup\(g\): FAILED"),
        ("remove", {"removeProcessGroup": fault(30, "FAILED")}, "refused removeProcessGroup"),
        ("stop", {"stopProcessGroup": fault(30, "FAILED")}, "refused stopProcessGroup"),
        (
            "start",
            {"startProcessGroup": lambda *_: [{"name": "g", "status": 20, "description": "NO_FILE: /x"}]},
            "NO_FILE: /x",
        ),
        (
            "stop",
            {"stopProcessGroup": lambda *_: [{"name": "g", "status": 30, "description": "FAILED: EPERM"}]},
            "FAILED: EPERM",
        ),
    ],
)
def test_a_refusal_says_what_was_refused_and_why(
    serve: Callable[[Answers], Supervisor], method: str, answer: Answers, expected: str
) -> None:
    arguments = () if method == "reread" else ("g",)
    with pytest.raises(SupervisorError, match=expected):
        getattr(serve(answer), method)(*arguments)


def test_a_missing_socket_means_that_supervisord_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(SupervisorNotRunningError, match="systemctl start supervisor"):
        Supervisor(str(tmp_path / "none.sock")).processes()


def test_an_answer_that_makes_no_sense_names_the_log(serve: Callable[[Answers], Supervisor], tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match=r"refused getAllProcessInfo"):
        serve({}).processes()
    with pytest.raises(SupervisorError, match=r"did not answer .*supervisord\.log"):
        Supervisor("/" + "x" * 200).processes()
