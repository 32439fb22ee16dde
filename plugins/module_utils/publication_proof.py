# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a generation works, and the evidence when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import Group
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.module_utils.program import Generation
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import Front, Proof
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import CommandResult, Tools
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    BACKOFF,
    EXITED,
    FATAL,
    STOPPED,
    STOPPING,
    UNKNOWN,
    Process,
    SupervisorError,
)

# Seconds between two looks at supervisor, and between two runs of a proof command, which may load a whole application.
POLL = 0.2
COMMAND_POLL = 1.0
# Seconds for one HTTP attempt: a program that died while it held a request is noticed after it.
ATTEMPT = 10.0
LOG_LINES, LOG_BYTES = 40, 65536


class ProofError(WebappsError):
    """A generation did not show that it works. ``blamed``: whether that is the release's fault."""

    def __init__(self, message: str, *, blamed: bool = True, **details: object) -> None:
        super().__init__(message, **details)
        self.blamed = blamed


def last_lines(lines: list[str], count: int) -> list[str]:
    """The last lines of a log, and before them the exceptions of tracebacks that are left out.

    When all of its workers fail to boot, gunicorn's own tracebacks come last, and would hide why they did.
    """
    left_out, kept = lines[:-count], lines[-count:]
    return [*(line for line in dict.fromkeys(_exceptions(left_out)) if line not in kept), *kept]


def _exceptions(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        if line.startswith("Traceback (most recent call last):"):
            inside = True
        elif inside and line and not line[0].isspace():
            inside = False
            yield line


class Prover:
    """Proves one generation. ``begin``, called right before its start, keeps older log lines out of the evidence.

    ``rival``: the socket of the generation that serves, if another one does. It is asked here and now, because it may
    have to be stopped before the proof.
    """

    def __init__(self, generation: Generation, proof: Proof, tools: Tools, rival: Path | None = None) -> None:
        self._generation = generation
        self._proof = proof
        self._tools = tools
        self.concession = ""
        self._status = 200
        self._rival = tools.ask_socket(rival, proof.http, ATTEMPT) if rival and proof.http and proof.no_worse else None
        self._log = Path(generation.program.stdout_logfile)
        self._pids: dict[str, int] = {}
        self._answer: Answer | None = None
        self._ended: CommandResult | None = None
        self.begin()

    def begin(self) -> None:
        self._log_start = self._log_size()

    def prove(self) -> None:
        """Return when the generation has proven itself. Raises ProofError when it ended or its time is over."""
        deadline = self._tools.clock() + self._proof.timeout
        while True:
            processes = self._watched()
            if self._good(processes, max(deadline - self._tools.clock(), POLL)) and Group(self._watched()).running:
                return
            if self._tools.clock() >= deadline:
                if self._no_worse() and Group(self._watched()).running:
                    return
                raise self._unproven(f"It did not prove itself within {self._proof.timeout:.0f} s", processes)
            self._tools.sleep(COMMAND_POLL if self._ended else POLL)

    def prove_front(self, front: Front) -> None:
        """Return when nginx answers with the generation. Raises ProofError when it does not in time."""
        deadline = self._tools.clock() + front.timeout
        while True:
            answer = self._tools.ask_front(front, min(ATTEMPT, max(deadline - self._tools.clock(), POLL)))
            if answer.satisfies(front.probe.expect) or answer.satisfies(front.probe.expect, self._status):
                return
            if self._tools.clock() >= deadline:
                self._answer = answer
                # Where nginx itself does not answer, the release is not the culprit.
                raise self._unproven(
                    "It answers over its own socket, but not through nginx",
                    self._processes(),
                    blamed=answer.status is not None,
                )
            self._tools.sleep(POLL)

    def _processes(self) -> list[Process]:
        return [process for process in self._tools.supervisor.processes() if process.group == self._generation.group]

    def _watched(self) -> list[Process]:
        """The processes; raises ProofError as soon as one has ended, as waiting would not mend it."""
        processes = self._processes()
        for process in processes:
            if process.pid:
                self._pids.setdefault(process.name, process.pid)
            ended = process.state in {FATAL, EXITED, BACKOFF, STOPPING, UNKNOWN}
            ended |= process.state == STOPPED and process.start > 0
            # supervisor may have started it again between two looks.
            ended |= bool(process.pid) and self._pids[process.name] != process.pid
            if ended:
                raise self._unproven("Its process ended", processes)
        if not processes:
            raise self._unproven("supervisor has lost its program", processes, blamed=False)
        return processes

    def _good(self, processes: list[Process], remaining: float) -> bool:
        generation, proof = self._generation, self._proof
        if proof.http:
            answer = self._tools.ask_socket(generation.socket, proof.http, min(ATTEMPT, remaining))
            # An attempt that the deadline cut short says less than the one before it.
            if answer.status is not None or remaining >= ATTEMPT or self._answer is None:
                self._answer = answer
            return answer.satisfies(proof.http.expect)
        if not Group(processes).running:
            return False
        if not proof.command:
            # Long enough for supervisor to notice an exit, and for a second look to see a new process.
            self._tools.sleep(max(float(generation.program.start_seconds), COMMAND_POLL))
            return True
        ended = self._tools.run(
            generation.argv(list(proof.command)),
            user=generation.program.user,
            cwd=generation.release_dir,
            stdin=proof.stdin,
            variables={
                "WEBAPPS_PROGRAM": generation.group,
                "WEBAPPS_GENERATION": generation.id,
                "WEBAPPS_RELEASE": generation.release,
            },
            timeout=remaining,
        )
        if ended.status is not None or self._ended is None:
            self._ended = ended
        return ended.status == 0

    def _no_worse(self) -> bool:
        """Whether to make do with the last answer. Nothing is known of a program that does not answer at all."""
        proof, answer, rival = self._proof, self._answer, self._rival
        if rival is None or proof.http is None or rival.status == 200 or answer is None or answer.status is None:
            return False
        # Of two failures with different statuses nobody can say which one its users would rather have.
        if rival.status not in {None, answer.status} or not answer.says(proof.http.expect):
            return False
        self._status = answer.status
        self.concession = (
            f"Generation {self._generation.id} is not proven, but no worse than the one it replaces, which failed the "
            f"same proof: {answer}; the one before: {rival}. See what both lack."
        )
        return True

    # Evidence

    def _unproven(self, cause: str, processes: list[Process], *, blamed: bool = True) -> ProofError:
        group = self._generation.group
        lines = [f"{cause}."]
        details: dict[str, object] = {"processes": [str(process) for process in processes]}
        if self._answer:
            answer, expect = self._answer, self._proof.http.expect if self._proof.http else ""
            wanted = "status 200" + (f" and the text {expect!r} in a header or the body" if expect else "")
            lines.append(f"Probe: {answer}; wanted: {wanted}.")
            details["probe"] = {
                "url": answer.url,
                "host": answer.host,
                "status": answer.status,
                "body": answer.body_head,
                "error": answer.error,
            }
        if self._ended:
            ended, command = self._ended, " ".join(self._proof.command)
            how = "was stopped at the end of its time" if ended.status is None else f"ended with {ended.status}"
            output = "\n".join(ended.output.splitlines()[-LOG_LINES:])
            lines.append(f"Proof command `{command}` {how}: {output or 'no output'}")
            details["proof_command"] = {"command": command, "status": ended.status, "output": output}
        lines.append(f"Program {group}: {'; '.join(map(str, processes)) or 'not in supervisor'}.")
        said = self._supervisor_said()
        if said:
            lines.append(f"supervisor: {said}.")
        log = self._log_lines()
        lines.append(f"Last lines of {self._log}:" if log else f"{self._log} has no line of this start.")
        lines += log
        details |= {"supervisor": said, "log": log}
        return ProofError("\n".join(lines), blamed=blamed, **details)

    def _supervisor_said(self) -> str:
        """supervisord's line about the last end of this program: it keeps no exit status of one that died early."""
        try:
            tail = self._tools.supervisor.log_tail(LOG_BYTES)
        except SupervisorError:
            return ""
        lines = [line for line in tail.splitlines() if f"exited: {self._generation.group}" in line]
        return lines[-1].strip() if lines else ""

    def _log_size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _log_lines(self) -> list[str]:
        try:
            with self._log.open("rb") as stream:
                size = self._log_size()
                # A smaller file was rotated meanwhile.
                start = self._log_start if self._log_start <= size else 0
                stream.seek(max(start, size - LOG_BYTES))
                return last_lines(stream.read().decode(errors="replace").splitlines(), LOG_LINES)
        except OSError:
            return []
