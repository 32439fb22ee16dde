# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a publish is asked for, and the steps to it from what is seen: decided here, carried out by publication.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import Group, Observed, release_of
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import HttpProbe
from ansible_collections.carpentries.webapps.plugins.module_utils.program import CONF_DIR, LAUNCHER, Generation, Program
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
)


@dataclass(frozen=True)
class Front:
    """nginx on this host, asked after the switch. ``timeout``: seconds until it must answer with the new release."""

    scheme: str
    port: int
    probe: HttpProbe
    address: str = "127.0.0.1"
    timeout: float = 10.0


@dataclass(frozen=True)
class Proof:
    """What shows that a generation works: an answer over its socket, a command that ends with 0, or staying up.

    ``command``: relative to the release's directory, run as the program's user with its environment. ``timeout``: s.
    ``no_worse``: at the end of that time it is enough to fail with the same status as the generation that serves.
    """

    http: HttpProbe | None = None
    command: tuple[str, ...] = ()
    stdin: str = ""
    timeout: float = 60.0
    no_worse: bool = False


@dataclass(frozen=True)
class Request:
    """One call: which generation is wanted, and how it takes over.

    ``serves``: it has a socket and ``live.sock`` is switched to it. ``moves_links``: ``repo``, ``environment`` and the
    ledger follow it. ``overlap``: the old generation serves until the new one does. ``anew``: it is stopped and started
    again, if it runs. ``retire_timeout``: seconds to wait for the old one's last work.
    """

    layout: Layout
    release: str
    environment: str
    program: Program
    proof: Proof
    serves: bool
    moves_links: bool
    overlap: bool = True
    anew: bool = False
    front: Front | None = None
    retire_timeout: float = 30.0
    conf_dir: Path = CONF_DIR
    launcher: Path = Path(LAUNCHER)

    def __post_init__(self) -> None:
        if self.serves and self.anew:
            raise WebappsError("anew is given, but the program serves: it would leave its users without an answer.")
        if self.serves and self.proof.http is None:
            raise WebappsError("proof.http is missing: a program that serves is proven by what it answers.")
        if not self.serves and (self.proof.http or self.front):
            raise WebappsError(
                "proof.http and front are given, but serves is false: a program without socket has no HTTP."
            )
        if self.proof.http and self.proof.command:
            raise WebappsError("proof.http and proof.command are both given: choose one.")
        if self.proof.no_worse and not self.serves:
            raise WebappsError("proof.no_worse is given, but serves is false: there is no answer to compare.")

    @property
    def generation(self) -> Generation:
        return Generation(self.layout, self.program, self.release, self.environment, self.conf_dir)


# What a step does; the names of the methods of _Call.
WRITE, HALT, START, PROVE, SWITCH, FRONT = "write", "halt", "start", "prove", "switch", "prove_front"
REPO, ENVIRONMENT, CONFIRM, RECORD = "link_repo", "link_environment", "confirm", "record"
RETIRE, CLEAN, SWEEP = "retire", "clean", "sweep"
# Steps that can still be taken back: the old generation is whole until they are done.
TENTATIVE = frozenset({WRITE, HALT, START, PROVE, SWITCH, FRONT, REPO, ENVIRONMENT, CONFIRM, RECORD})


@dataclass(frozen=True)
class Step:
    """One step of a plan. ``generation``: which other one it is about."""

    action: str
    text: str
    generation: str = ""


def plan(request: Request, seen: Observed, recorded: str | None) -> list[Step]:
    """The steps from what is seen to the wanted generation running alone. ``recorded``: the ledger's live release."""
    wanted = request.generation
    name = wanted.id
    anew = request.anew and seen.group(name).wanted_up
    settled = not anew and _settled(request, seen)
    steps: list[Step] = []
    if not _written(request, seen):
        steps.append(Step(WRITE, f"Write {wanted.conf}"))
    others = [other for other in seen.generations if other != name]
    if not request.overlap and not settled:
        steps += [
            Step(HALT, f"Stop generation {other} and wait for its end", other)
            for other in others
            if not seen.group(other).stopped
        ]
    if anew:
        steps.append(Step(HALT, f"Stop generation {name} and wait for its end", name))
    if not seen.group(name).known:
        steps.append(Step(START, f"Add the program {wanted.group} to supervisor, which starts it"))
    elif anew or not _coming_up(seen.group(name)):
        steps.append(Step(START, f"Start the program {wanted.group} again"))
    if not settled:
        steps.append(Step(PROVE, f"Prove generation {name}: {_proof_text(request)}"))
    if request.serves and seen.live != name:
        steps.append(Step(SWITCH, f"Switch {request.layout.live_socket.name} to generation {name}"))
    if request.front and not settled:
        front = request.front
        steps.append(Step(FRONT, f"Prove it through nginx on {front.scheme} port {front.port}"))
    if request.moves_links and seen.repo != repo_target(request):
        steps.append(Step(REPO, f"Point {request.layout.repo.name} at {repo_target(request)}"))
    other_environment = seen.environment != environment_target(request)
    if request.moves_links and other_environment:
        steps.append(Step(ENVIRONMENT, f"Point {request.layout.environment.name} at {environment_target(request)}"))
    if not seen.proven(name):
        steps.append(Step(CONFIRM, f"Note in {wanted.conf.name} that generation {name} is proven"))
    if request.moves_links and (recorded != request.release or other_environment):
        steps.append(Step(RECORD, f"Record release {request.release} as live"))
    for other in others:
        steps += _removal(seen, other)
    steps += [Step(SWEEP, f"Remove {path}, left by a call that was killed", str(path)) for path in seen.leftovers]
    return steps


def _removal(seen: Observed, other: str) -> list[Step]:
    group = seen.group(other)
    if group.finishing and other not in seen.confs:
        return []
    if group.known:
        return [Step(RETIRE, f"Retire generation {other}", other)]
    return [Step(CLEAN, f"Remove what is left of generation {other}", other)]


def _written(request: Request, seen: Observed) -> bool:
    wanted = request.generation
    conf = seen.confs.get(wanted.id)
    return conf is not None and conf.text == wanted.render(proven=conf.proven)


def _settled(request: Request, seen: Observed) -> bool:
    """Whether the wanted generation was proven, still runs and, if it serves, does so already."""
    name = request.generation.id
    live = not request.serves or seen.live == name
    return live and _written(request, seen) and seen.proven(name) and seen.group(name).running


def _coming_up(group: Group) -> bool:
    # A process that was never started is about to be: supervisor does so right after adding its group.
    return all(p.state in {RUNNING, STARTING} or (p.state == STOPPED and p.start == 0) for p in group.processes)


def _proof_text(request: Request) -> str:
    if request.proof.http:
        return f"GET {request.proof.http.path} over its own socket"
    return f"run {request.proof.command[0]}" if request.proof.command else "it stays up"


def previous_generation(request: Request, seen: Observed) -> str | None:
    """The generation to go back to: rather one that was proven, one that is up, the one that serves."""
    others = [name for name in seen.generations if name != request.generation.id]
    candidates = [name for name in others if seen.proven(name) or name == seen.live]
    return max(
        candidates, key=lambda name: (seen.proven(name), seen.group(name).wanted_up, name == seen.live), default=None
    )


@dataclass(frozen=True)
class Differences:
    """What tells the wanted generation from the one before; ``settings``: keys of the section, options of the command.

    Names only: a command may hold a value that is nobody's business.
    """

    release: bool = False
    environment: bool = False
    settings: tuple[str, ...] = ()


def differences(request: Request, seen: Observed) -> Differences:
    """Why the wanted generation is another one than that before it; nothing, if there was none."""
    wanted, name = request.generation, previous_generation(request, seen)
    if name is None:
        return Differences()
    conf = seen.confs.get(name)
    if conf is None:
        return Differences(release=release_of(name) != request.release)
    release = conf.release or release_of(name)
    old = _settings(conf.text, _places(request.layout, release, conf.environment, name))
    new = _settings(
        wanted.render(proven=False), _places(request.layout, request.release, request.environment, wanted.id)
    )
    changed = [key for key in [*new, *(key for key in old if key not in new)] if old.get(key) != new.get(key)]
    return Differences(
        release=release != request.release,
        environment=conf.environment != request.environment,
        settings=tuple(text for key in changed for text in _named(key, old.get(key, ""), new.get(key, ""))),
    )


def _places(layout: Layout, release: str, environment: str, generation: str) -> dict[str, str]:
    """What the sections of any two generations have each in its own form; a generation's id begins with the release."""
    return {
        generation: "{generation}",
        str(layout.environments / environment): "{environment}",
        str(layout.release(release)): "{release}",
    }


def _settings(text: str, places: Mapping[str, str]) -> dict[str, str]:
    for place, mark in places.items():
        text = text.replace(place, mark)
    lines = (line for line in text.splitlines() if not line.startswith((";", "[")))
    return {key.strip(): value.strip() for key, found, value in (line.partition("=") for line in lines) if found}


def _named(key: str, old: str, new: str) -> list[str]:
    if key != "command":
        return [key]
    before, after = old.split(), new.split()
    words = [word for word in [*after, *before] if (word in before) != (word in after)]
    options = dict.fromkeys(word.split("=")[0] for word in words if word.startswith("-"))
    return [f"command {option}" for option in options] or ["command"]


def retiring(request: Request, seen: Observed) -> list[str]:
    return [name for name in seen.generations if name != request.generation.id and seen.group(name).finishing]


def repo_target(request: Request) -> str:
    return f"{request.layout.releases.name}/{request.release}"


def environment_target(request: Request) -> str:
    return f"{request.layout.environments.name}/{request.environment}"


def state(request: Request, seen: Observed) -> dict[str, Any]:
    """A side of the diff."""
    name = request.program.name
    state: dict[str, Any] = {"programs": {f"{name}-{each}": seen.groups[each].state for each in sorted(seen.groups)}}
    if request.serves:
        state["generation"] = seen.live
    if request.moves_links:
        state |= {"repo": seen.repo, "environment": seen.environment}
    return state


def predicted(request: Request, seen: Observed) -> dict[str, Any]:
    wanted = request.generation
    finishing = {f"{request.program.name}-{name}": STOPPING for name in seen.groups if seen.group(name).finishing}
    state: dict[str, Any] = {"programs": dict(sorted({**finishing, wanted.group: RUNNING}.items()))}
    if request.serves:
        state["generation"] = wanted.id
    if request.moves_links:
        state |= {"repo": repo_target(request), "environment": environment_target(request)}
    return state
