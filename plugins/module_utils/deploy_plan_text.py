# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as people read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_plan import EXACT, SOURCE

Part = Mapping[str, Any]
# Ansible sets each line in a little: together they stay within 120 columns.
WIDTH = 110


def plan_text(plan: Part) -> list[str]:
    """The lines of a plan that :func:`deploy_plan` made."""
    sections: list[tuple[str, Iterable[str]]] = [
        ("", _head(plan)),
        ("Hosts", _hosts(plan)),
        ("Roll", _roll(plan)),
        ("Commits", _commits(plan)),
        ("Migrations", _migrations(plan)),
        ("Time", _time(plan["time"]) if plan["changes"] else []),
        ("Lock", [_lock(plan["lock"])]),
        ("Refusals", [f"This deploy would be refused: {text}" for text in plan["refusals"]]),
    ]
    lines: list[str] = []
    for title, texts in ((title, list(texts)) for title, texts in sections):
        if title and texts:
            lines += ["", title.upper()]
        lines += [line for text in texts for each in text.splitlines() for line in _wrapped(each)]
    return lines


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False) or [""]


def _head(plan: Part) -> Iterator[str]:
    yield f"What a deploy of {plan['version']} to {plan['domain']} would do; nothing was changed."
    behind = " behind the maintenance page" if plan["maintenance"] else ""
    release = f"release {plan['release']} (commit {plan['commit'][:12]})"
    if plan["publishes"]:
        yield f"It would publish {release}{behind}."
    else:
        yield f"It would publish nothing: every host runs {release} as it should."
    staged = [name for name, host in plan["hosts"].items() if host["staged"]]
    missing = [name for name, host in plan["hosts"].items() if host["staged"] is False]
    if missing:
        already = f"; on {', '.join(staged)} it is already" if staged else ""
        yield f"It would be built unless the builder has it, and staged on {', '.join(missing)}{already}."


def _hosts(plan: Part) -> Iterator[str]:
    for name, host in plan["hosts"].items():
        now = f"{host['version']} ({host['release']})" if host["release"] else "nothing"
        if not host["changes"]:
            yield f"{name} keeps {now}: nothing changes"
            continue
        yield f"{name} runs {now}"
        for program in host["programs"]:
            yield from _program(program)
        yield from (f"  {step}" for step in host["stops"])


def _program(program: Part) -> Iterator[str]:
    if not program["changes"]:
        yield f"  {program['program']} keeps {program['generation']}"
        return
    before = program["generation"]
    moves = f"{before} -> {program['next']}" if before else f"starts {program['next']}"
    yield f"  {program['program']} {moves}" if before != program["next"] else f"  {program['program']} {before}"
    yield f"    why: {', '.join(program['why'])}"


def _roll(plan: Part) -> Iterator[str]:
    if not plan["changes"]:
        return
    for number, batch in enumerate(plan["batches"], start=1):
        yield f"Batch {number} of {len(plan['batches'])}: {', '.join(batch['hosts'])}"
        left = {_place(move) for move in batch["leaves"]}
        yield from (f"  {move['host']} leaves {_place_text(move)}, now {move['state']}" for move in batch["leaves"])
        for move in batch["joins"]:
            again = " again" if _place(move) in left else f", now {move['state']}"
            yield f"  {move['host']} joins {_place_text(move)}{again}"
        if not batch["joins"]:
            yield "  nobody leaves or joins a target group"


def _place(move: Part) -> tuple[str, str, int]:
    return move["host"], move["target_group"], move["port"]


def _place_text(move: Part) -> str:
    return f"{move['target_group']} port {move['port']}"


def _commits(plan: Part) -> Iterator[str]:
    commits = plan["commits"]
    since = commits["since"] or "nothing"
    if not commits["known"]:
        yield f"Unknown, between {since} and {plan['version']}: {commits['reason']}"
        return
    yield from _log(f"new since {since}", commits["commits"], commits["commits_count"])
    if commits["dropped_count"]:
        yield from _log("served now and gone then", commits["dropped"], commits["dropped_count"])


def _log(kind: str, commits: Sequence[str], count: int) -> Iterator[str]:
    yield f"{count or 'None'} {kind}{':' if count else ''}"
    yield from (f"  {line}" for line in commits)
    if count > len(commits):
        yield f"  and {count - len(commits)} more"


def _migrations(plan: Part) -> Iterator[str]:
    found = plan["migrations"]
    pending = found["pending"]
    if found["known"] == EXACT:
        yield f"{len(pending)} pending, asked of the database by the staged release:" if pending else "None is pending."
    elif found["known"] == SOURCE:
        count = f"{len(pending)} new" if pending else "None is new"
        yield f"{count}, as far as the source tells: verdict and SQL once it is built"
    else:
        yield "Unknown until the release is built and staged: the source could not be compared."
    for each in pending:
        yield f"  {each['migration']} {each['level']}".rstrip()
        yield from (f"    {reason}" for reason in each["reasons"])
        yield from (f"    | {line}" for line in each["sql"] if line.strip())
    if found["removed"]:
        yield f"Served now and gone then, though the database may have them: {', '.join(found['removed'])}"


def _time(time: Part) -> Iterator[str]:
    if not (time["batches_leaving"] or time["batches_joining"]):
        yield "No batch leaves or joins a target group, so nothing is waited for."
    else:
        yield f"{time['least_minutes']} to {time['most_minutes']} minutes"
        yield (
            f"  {time['batches_leaving']} x leaving, {_range(time['leave'])} each; "
            f"{time['batches_joining']} x joining, {_range(time['join'])} each"
        )
    best = time["costliest"]
    if best:
        yield (
            f"  costs most: {best['attribute']} of {', '.join(best['groups'])}, {best['value']}; "
            f"{best['better']} would save up to {round(best['saves'] / 60, 1)} minutes"
        )
    if time["slow_start"]:
        yield f"  slow start ({time['slow_start']} s) is not waited for: the next batch leaves meanwhile"
    steps = ", ".join(f"{step} {seconds:g} s" for step, seconds in time["measured"].items())
    yield (
        f"  measured in earlier deploys and included: {steps}"
        if steps
        else ("  building, staging, migrations, starts and proofs come on top: no earlier deploy was measured")
    )


def _range(seconds: Sequence[int]) -> str:
    least, most = seconds
    return f"{least} to {most} s" if least != most else f"{most} s"


def _lock(lock: Part) -> str:
    if not lock:
        return "Nobody looked for one."
    if not lock.get("held"):
        return "None is held."
    told = [f"{key} {lock[key]}" for key in ("owner", "since", "reason", "remedy") if lock.get(key)]
    return f"Held: {', '.join(told)}" if told else "Held."
