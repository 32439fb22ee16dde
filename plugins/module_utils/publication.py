# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish one program on one host: start the new generation, prove it, switch to it, retire the old one.

A call observes, plans from what is, and carries out the plan. It may be killed between any two steps: the next call
observes again and goes on from there. What carries a decision over is in places that outlive a process: the link
``live.sock`` says who serves, a generation's supervisor file says whether it was proven, and a generation without such
a file is retiring.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import (
    Conf,
    Group,
    Observed,
    link_target,
    observe,
    release_of,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import (
    TENTATIVE,
    Differences,
    Request,
    Step,
    differences,
    environment_target,
    plan,
    predicted,
    previous_generation,
    repo_target,
    retiring,
    state,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_proof import (
    ATTEMPT,
    POLL,
    ProofError,
    Prover,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import Tools
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    BACKOFF,
    Process,
    SupervisorNotRunningError,
)

# Seconds that an emptied listen queue must stay empty, and that pass when nobody can say how long the queue is.
SETTLE, BLIND_SETTLE = 0.1, 1.0
# Seconds beyond stop_wait in which supervisor must have killed a program.
KILL_MARGIN = 10.0
STAGE_FIRST = "stage it first (module carpentries.webapps.release, state staged)."


@dataclass(frozen=True)
class Outcome:
    """What a call did, or would do."""

    changed: bool
    generation: str
    previous_generation: str | None
    steps: list[str]
    retiring: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    differs: Differences = field(default_factory=Differences)


def publish(request: Request, tools: Tools, *, check: bool = False) -> Outcome:
    """Make the wanted generation the one that runs on this host, or leave the old one as it was and raise WebappsError.

    ``check``: only say what would be done.
    """
    warnings = _missing(request)
    if warnings and not check:
        raise WebappsError(" ".join(warnings))
    try:
        seen = _look(request, tools.supervisor.processes())
    except SupervisorNotRunningError as error:
        if not check:
            raise
        # On a host that is being set up, the role that starts supervisor has not really run either.
        warnings.append(error.message)
        seen = _look(request, ())
    recorded = ledger.live_release(ledger.load(request.layout.ledger))
    planned = plan(request, seen, recorded)
    before = state(request, seen)
    previous = previous_generation(request, seen)
    texts = [step.text for step in planned]
    differs = differences(request, seen)
    if check:
        return Outcome(
            changed=bool(planned),
            generation=request.generation.id,
            previous_generation=previous,
            steps=texts,
            retiring=retiring(request, seen),
            before=before,
            after=predicted(request, seen),
            warnings=warnings,
            differs=differs,
        )
    call = _Call(request, tools, seen, previous)
    call.carry_out(planned)
    seen = call.look()
    return Outcome(
        changed=bool(planned),
        generation=request.generation.id,
        previous_generation=previous,
        steps=texts,
        retiring=retiring(request, seen),
        before=before,
        after=state(request, seen),
        warnings=[call.prover.concession] if call.prover.concession else [],
        differs=differs,
    )


def _missing(request: Request) -> list[str]:
    """What must be on the host before, each with its remedy."""
    layout, wanted = request.layout, request.generation
    missing = []
    if not (wanted.release_dir / "RELEASE.json").is_file():
        missing.append(f"Release {request.release}: {wanted.release_dir} has no RELEASE.json; {STAGE_FIRST}")
    elif request.moves_links and request.release not in ledger.load(layout.ledger).releases:
        missing.append(f"Release {request.release}: {layout.ledger} does not know it; {STAGE_FIRST}")
    if not wanted.environment_file.is_file():
        missing.append(f"Environment {wanted.environment_file} is missing: stage it first (role app_release).")
    # Naming the socket refuses a path that is too long for one.
    if request.serves and not wanted.socket.parent.is_dir():
        missing.append(f"{layout.run_dir} is missing: run role app_directory, or `systemd-tmpfiles --create`.")
    if not request.launcher.is_file():
        missing.append(f"{request.launcher} is missing: run role app_directory.")
    return missing


def _look(request: Request, processes: Iterable[Process]) -> Observed:
    return observe(request.layout, request.program.name, processes, serves=request.serves, conf_dir=request.conf_dir)


class _Call:
    """One call at work: the steps, and the way back."""

    def __init__(self, request: Request, tools: Tools, seen: Observed, previous: str | None) -> None:
        self.request = request
        self.tools = tools
        self.seen = seen
        self.previous = previous
        self.wanted = request.generation
        rival = request.layout.socket(seen.live) if seen.live and seen.live != self.wanted.id else None
        self.prover = Prover(self.wanted, request.proof, tools, rival)
        self.retired: list[str] = []

    def look(self) -> Observed:
        return _look(self.request, self.tools.supervisor.processes())

    def carry_out(self, steps: list[Step]) -> None:
        tentative = [step for step in steps if step.action in TENTATIVE]
        try:
            for step in tentative:
                getattr(self, step.action)(step)
        except (WebappsError, OSError) as error:
            raise self._taken_back(error) from error
        for step in steps[len(tentative) :]:
            getattr(self, step.action)(step)
        self._await_retired(self.retired)

    # Steps

    def write(self, _step: Step) -> None:
        self.tools.files.write(self.wanted.conf, self.wanted.render(proven=False))

    def halt(self, step: Step) -> None:
        self.tools.supervisor.stop(self._group_name(step.generation))
        self._await_end(step.generation)

    def start(self, _step: Step) -> None:
        self.prover.begin()
        self._bring_up(self.wanted.id)

    def prove(self, _step: Step) -> None:
        self.prover.prove()

    def switch(self, _step: Step) -> None:
        self.tools.files.link(self.request.layout.live_socket, str(self.wanted.socket))

    def prove_front(self, _step: Step) -> None:
        if self.request.front:
            self.prover.prove_front(self.request.front)

    def link_repo(self, _step: Step) -> None:
        self.tools.files.link(self.request.layout.repo, repo_target(self.request))

    def link_environment(self, _step: Step) -> None:
        self.tools.files.link(self.request.layout.environment, environment_target(self.request))

    def confirm(self, _step: Step) -> None:
        self.tools.files.write(self.wanted.conf, self.wanted.render(proven=True))

    def record(self, _step: Step) -> None:
        path, request = self.request.layout.ledger, self.request
        known = ledger.load(path)
        ledger.save(
            path, ledger.mark_live(known, request.release, now=self.tools.now(), environment=request.environment)
        )

    def retire(self, step: Step) -> None:
        # The file goes first: a machine that boots now must not start what is on its way out.
        self._drop_conf(step.generation)
        if self.request.serves:
            self._await_empty_backlog(self.request.layout.socket(step.generation))
        self.tools.supervisor.stop(self._group_name(step.generation))
        self.retired.append(step.generation)

    def clean(self, step: Step) -> None:
        self._drop_conf(step.generation)
        self._drop_socket(step.generation)

    def sweep(self, step: Step) -> None:
        self.tools.files.unlink(Path(step.generation))

    # Parts of steps

    def _group_name(self, generation: str) -> str:
        return f"{self.request.program.name}-{generation}"

    def _group(self, generation: str) -> Group:
        name = self._group_name(generation)
        return Group([process for process in self.tools.supervisor.processes() if process.group == name])

    def _drop_conf(self, generation: str) -> None:
        name = f"{self.request.layout.domain}-{self._group_name(generation)}.conf"
        self.tools.files.unlink(self.request.conf_dir / name)

    def _drop_socket(self, generation: str) -> None:
        if self.request.serves:
            self.tools.files.unlink(self.request.layout.socket(generation))

    def _bring_up(self, generation: str) -> None:
        """Have supervisor start a generation that has a file, from whatever state it is in."""
        supervisor, name = self.tools.supervisor, self._group_name(generation)
        group = self._group(generation)
        if not group.known:
            supervisor.reread()
            supervisor.add(name)
            return
        if any(process.state == BACKOFF for process in group.processes):
            # Otherwise supervisor's retries go on where they were, and the proof meets an old failure.
            supervisor.stop(name)
        self._await_end(generation)
        supervisor.start(name)

    def _await_end(self, generation: str) -> None:
        """Wait for the processes of a generation that were told to stop. Raises WebappsError if one does not end."""
        conf = self.seen.confs.get(generation)
        patience = max(conf.stop_wait if conf else 0, self.request.program.stop_wait) + KILL_MARGIN
        deadline = self.tools.clock() + patience
        while self._group(generation).stopping:
            if self.tools.clock() >= deadline:
                raise WebappsError(
                    f"The program {self._group_name(generation)} was told to stop and has not ended within "
                    f"{patience:.0f} s: look at what its processes do, then run the same command again."
                )
            self.tools.sleep(POLL)

    def _await_empty_backlog(self, socket: Path) -> None:
        deadline = self.tools.clock() + self.request.retire_timeout
        while socket.exists() and self.tools.clock() < deadline:
            waiting = self.tools.backlog(socket)
            if waiting is None:
                self.tools.sleep(BLIND_SETTLE)
                return
            self.tools.sleep(SETTLE)
            # A connection that was on its way when the link moved may arrive after the first look.
            if waiting == 0 and self.tools.backlog(socket) == 0:
                return

    def _await_retired(self, generations: list[str]) -> list[str]:
        """Remove the generations that end in time from supervisor; return those that do not."""
        left = list(generations)
        deadline = self.tools.clock() + self.request.retire_timeout
        while left:
            for generation in tuple(left):
                group = self._group(generation)
                if group.wanted_up:
                    # It died and was started again in the moment before it was told to stop.
                    self.tools.supervisor.stop(self._group_name(generation))
                elif group.stopped and self.tools.supervisor.remove(self._group_name(generation)):
                    self._drop_socket(generation)
                    left.remove(generation)
            if not left or self.tools.clock() >= deadline:
                break
            self.tools.sleep(POLL)
        return left

    # The way back

    def _taken_back(self, error: WebappsError | OSError) -> WebappsError:
        """Undo what this and earlier calls did for the wanted generation; return the error that says all of it."""
        cause = error.message if isinstance(error, WebappsError) else f"{error}."
        details = dict(error.details) if isinstance(error, WebappsError) else {}
        lines = [f"Release {self.request.release} was not published on this host. {cause}"]
        try:
            if isinstance(error, ProofError) and error.blamed:
                self._mark_bad(cause)
            lines.append(self._go_back())
        except (WebappsError, OSError) as second:
            lines.append(f"Going back failed as well: {second}. The next call repairs what is left.")
        return WebappsError("\n".join(lines), previous_generation=self.previous, **details)

    def _go_back(self) -> str:
        name = self.wanted.id
        was_live = self.seen.proven(name) and (not self.request.serves or self.seen.live == name)
        if was_live and self.previous is None:
            return f"Generation {name} is left as it is, because there is no other: correct the cause, then run again."
        self._restore_links()
        self._drop_conf(name)
        self.tools.supervisor.stop(self.wanted.group)
        left = self._await_retired([name])
        ending = f" {self.wanted.group} has not ended yet; the next call removes it." if left else ""
        if self.previous is None:
            return f"Nothing ran before, nothing runs now: correct the cause, then deploy again.{ending}"
        how = "was not touched and goes on"
        if not self._group(self.previous).wanted_up:
            self._bring_up(self.previous)
            self._prove_previous(self.previous)
            how = "was started again and is proven"
        return f"Generation {self.previous} {how}: correct the cause, then deploy again.{ending}"

    def _restore_links(self) -> None:
        layout = self.request.layout
        if self.request.serves and link_target(layout.live_socket) == str(self.wanted.socket):
            self._point(layout.live_socket, str(layout.socket(self.previous)) if self.previous else None)
        if not self.request.moves_links:
            return
        # An earlier call may have moved them; then only the old generation's file knows what was before.
        before = self.seen.confs.get(self.previous or "", Conf(Path(), ""))
        repo = f"{layout.releases.name}/{before.release}" if before.release else self.seen.repo
        environment = (
            f"{layout.environments.name}/{before.environment}" if before.environment else self.seen.environment
        )
        if link_target(layout.repo) == repo_target(self.request) != repo:
            self._point(layout.repo, repo)
        if link_target(layout.environment) == environment_target(self.request) != environment:
            self._point(layout.environment, environment)

    def _point(self, link: Path, target: str | None) -> None:
        if target:
            self.tools.files.link(link, target)
        else:
            self.tools.files.unlink(link)

    def _prove_previous(self, generation: str) -> None:
        # Of its own settings no proof is known, but it names its release where the new one does.
        http, timeout = self.request.proof.http, self.request.proof.timeout
        expect = release_of(generation) if http and http.expect == self.request.release else ""
        deadline = self.tools.clock() + timeout
        while True:
            answer: Answer | None = None
            if http:
                answer = self.tools.ask_socket(self.request.layout.socket(generation), http, ATTEMPT)
            group = self._group(generation)
            if group.running and (answer is None or answer.satisfies(expect)):
                return
            if self.tools.clock() >= deadline:
                raise WebappsError(
                    f"generation {generation} was started again but is not up after {timeout:.0f} s "
                    f"({'; '.join(map(str, group.processes))}; {answer or 'no probe'})"
                )
            self.tools.sleep(POLL)

    def _mark_bad(self, cause: str) -> None:
        path = self.request.layout.ledger
        known = ledger.load(path)
        # A release that serves with another environment is not the culprit.
        if self.request.release in known.releases and ledger.live_release(known) != self.request.release:
            ledger.save(
                path, ledger.mark_bad(known, self.request.release, reason=f"{self.request.program.name}: {cause}")
            )
