# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on a server laid out by hand, and whether the collection knows how to take it over.

Everything is read, nothing is changed. What a person has to put right is collected, so that one look finds all of it.
"""

from __future__ import annotations

import configparser
import pwd
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ansible_collections.carpentries.webapps.plugins.module_utils import (
    environment,
    legacy_nginx,
    legacy_processes,
    legacy_supervisor,
    nginx_default_site,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_processes import LegacyProcess
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import (
    GUNICORN,
    KINDS,
    RQSCHEDULER,
    ConfFile,
    LegacyProgram,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import is_complete
from ansible_collections.carpentries.webapps.plugins.module_utils.shared_directories import checked as checked_shared
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    RUNNING,
    Process,
    SupervisorNotRunningError,
)

# What systemd, supervisor and shells put into an environment, and what every program is given anew.
NOISE = frozenset(
    {"_", "HOME", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "LOGNAME", "MEMORY_PRESSURE_WATCH"}
    | {"MEMORY_PRESSURE_WRITE", "NOTIFY_SOCKET", "OLDPWD", "PATH", "PS1", "PWD", "SHELL", "SHLVL", "SYSTEMD_EXEC_PID"}
    | {"SERVER_SOFTWARE", "USER", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"}
)
NOISE_PREFIX = "SUPERVISOR_"
OTHERS = 0o001
ROOT = 0
SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
INCLUDED = "/etc/supervisor/conf.d/*.conf"


@dataclass(frozen=True)
class Places:
    """Where things are on a Debian host; tests have their own."""

    proc: Path = Path("/proc")
    supervisor: Path = Path("/etc/supervisor/supervisord.conf")
    programs: Path = Path("/etc/supervisor/conf.d")
    packages: Path = Path("/var/lib/dpkg/info")
    nginx: Path = Path("/etc/nginx")
    default_site: nginx_default_site.Places = field(default_factory=nginx_default_site.Places)
    certbot: Path = Path("/etc/letsencrypt/renewal")
    unattended: Sequence[Path] = (Path("/etc/cron.d"), Path("/var/spool/cron/crontabs"), Path("/etc/logrotate.d"))


@dataclass(frozen=True)
class Wanted:
    """What the inventory says. ``programs``: the kinds that this host is to run. ``app``: gunicorn's, ``module:name``.

    ``aliases``: further names of the site. ``certificate``: nginx's, "" for none. ``challenges``: where nginx has the
    files of ACME challenges. ``shared``: directories of the tree that the application stores files in. ``user``: whom
    releases run as, with its number, None where there is no such user yet; without a name nobody asks.
    """

    programs: Collection[str]
    app: str
    aliases: Collection[str] = ()
    certificate: str = ""
    challenges: str = ""
    shared: Sequence[str] = ()
    user: str = ""
    user_number: int | None = None


@dataclass(frozen=True)
class Aside:
    """Where what this collection takes the place of is kept: below one directory, under the names it had."""

    layout: Layout

    @property
    def root(self) -> Path:
        return self.layout.root / "adopted"

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def record(self) -> Path:
        return self.root / "adoption.json"

    @property
    def programs(self) -> Path:
        return self.root / "supervisor"

    @property
    def nginx(self) -> Path:
        return self.root / "nginx"


@dataclass(frozen=True)
class Problem:
    """Something in the way: what was found, and what was expected in its place."""

    found: str
    expected: str

    def __str__(self) -> str:
        return f"Found: {self.found} Expected: {self.expected}"


@dataclass(frozen=True)
class Survey:
    """What there is. ``tree``: the directory that runs, in its place or set aside; None when nothing is to be adopted.

    ``imported``: whether `repo` is the link of a release already. ``variables``: the application's environment, secret.
    ``owners``: users of its processes by number. ``static``: the directory nginx has static files in.
    ``shared``: directories that are not the release's, relative to the tree. ``opened``: whether others may still pass
    through `releases/`, as what ran before needs it.
    """

    imported: bool = False
    tree: Path | None = None
    programs: Sequence[LegacyProgram] = ()
    site: legacy_nginx.Site | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    processes: Sequence[LegacyProcess] = ()
    static: Path | None = None
    shared: Sequence[PurePosixPath] = ()
    opened: bool = False
    problems: Sequence[Problem] = ()
    found: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def adopted(self) -> bool:
        """Whether nothing is left to do."""
        return self.imported and not self.opened and not self.programs and self.site is None

    def of_kind(self, kind: str) -> list[LegacyProgram]:
        return [program for program in self.programs if program.kind == kind]


def checked(survey: Survey) -> Survey:
    """The survey, if the collection knows how to go on. Raises WebappsError with everything that is in the way."""
    if not survey.problems:
        return survey
    lines = [
        "This host is not laid out as the collection knows it, so nothing was changed.",
        *(f"- {problem}" for problem in survey.problems),
        "As expected:" if survey.found else "Nothing is as expected.",
        *(f"- {line}" for line in survey.found),
        "Put right what is listed, or describe it in the inventory, and run the playbook again.",
    ]
    raise WebappsError(
        "\n".join(lines),
        problems=[{"found": problem.found, "expected": problem.expected} for problem in survey.problems],
        found=list(survey.found),
    )


def survey(
    layout: Layout,
    wanted: Wanted,
    listed: Callable[[], list[Process]],
    dump: Callable[[], str],
    places: Places = Places(),
) -> Survey:
    """Look at everything. ``listed``: supervisord's processes; ``dump``: what ``nginx -T`` prints."""
    return _Surveyor(layout, wanted, places).look(listed, dump)


class _Surveyor:
    """One look at a host."""

    def __init__(self, layout: Layout, wanted: Wanted, places: Places) -> None:
        self.layout = layout
        self.wanted = wanted
        self.places = places
        self.aside = Aside(layout)
        self.problems: list[Problem] = []
        self.found: list[str] = []
        self.notes: list[str] = []
        self.shared = checked_shared(wanted.shared)
        self.everything = legacy_processes.processes(places.proc)

    def look(self, listed: Callable[[], list[Process]], dump: Callable[[], str]) -> Survey:
        imported, tree = self._tree()
        processes = self._supervised(listed)
        programs = self._programs(processes)
        family = legacy_processes.descendants(self.everything, [pid for each in programs for pid in each.pids])
        if tree is not None and not imported:
            self._strays(processes, tree)
            self._writes(family, tree)
            self._shared(tree)
            self._owner(programs)
        self._gunicorn(programs, imported=imported)
        site = self._site(dump, programs)
        self._unattended()
        return Survey(
            imported=imported,
            tree=tree,
            programs=programs,
            site=site,
            variables=self._variables(programs, tree),
            processes=[self.everything[pid] for pid in sorted(family)],
            static=self._static(site),
            shared=self.shared,
            opened=imported and bool(self.layout.releases.stat().st_mode & OTHERS),
            problems=self.problems,
            found=self.found,
            notes=self.notes,
        )

    def _expected(self, found: str, expected: str) -> None:
        self.problems.append(Problem(found, expected))

    # The tree

    def _tree(self) -> tuple[bool, Path | None]:
        repo = self.layout.repo
        if repo.is_symlink():
            target = repo.readlink()
            if target.parent.name == "releases" and is_complete(self.layout, target.name):
                self.found.append(f"{repo} is the link to release {target.name}.")
                return True, self.aside.repo if self.aside.repo.is_dir() else None
            self._expected(
                f"{repo} is a link to {target}.",
                f"a plain directory: move {target} there, or make the host anew with playbooks/site.yml.",
            )
            return False, None
        if not repo.is_dir():
            self._expected(f"there is no directory {repo}.", "the application's source in it, with .venv inside.")
            return False, None
        for name in ("manage.py", ".venv/bin/python"):
            if (repo / name).exists():
                self.found.append(f"{repo / name} is there.")
            else:
                self._expected(f"there is no {repo / name}.", "a Django application with its virtual environment.")
        if repo.stat().st_dev != self.layout.root.stat().st_dev:
            self._expected(f"{repo} is a file system of its own.", f"a directory on the file system of {repo.parent}.")
        return False, repo

    # Supervisor

    def _supervised(self, listed: Callable[[], list[Process]]) -> list[Process]:
        if not (self.places.packages / "supervisor.list").exists():
            self._expected("the package supervisor is not installed.", "Debian's supervisor runs the programs.")
        try:
            return listed()
        except SupervisorNotRunningError as error:
            self._expected(f"{error.message}.", "a running supervisor, with the application's programs.")
            return []

    def _confs(self) -> list[ConfFile]:
        paths = [*sorted(self.places.programs.glob("*.conf")), *sorted(self.aside.programs.glob("*.conf"))]
        return [conf for path in paths if not legacy_supervisor.is_ours(self.layout, path) for conf in self._read(path)]

    def _read(self, path: Path) -> list[ConfFile]:
        try:
            return [legacy_supervisor.read_conf(path)]
        except (OSError, configparser.Error) as error:
            reason = str(error).splitlines()[0]
            self._expected(f"supervisor's file {path} cannot be read ({reason}).", "a file that supervisor takes.")
            return []

    def _programs(self, listed: list[Process]) -> list[LegacyProgram]:
        self._main_file()
        confs = self._confs()
        commands = {pid: " ".join(process.arguments) for pid, process in self.everything.items()}
        everyone = legacy_supervisor.legacy_programs(self.layout, confs, listed, commands)
        # One that is set aside and no longer known to supervisord is done with.
        programs = [each for each in everyone if each.known or (each.conf and each.conf.parent == self.places.programs)]
        names = {program.name for program in programs}
        for conf in confs:
            inside, others = names & set(conf.programs), set(conf.programs) - {each.name for each in everyone}
            if inside and others:
                self._expected(
                    f"{conf.path} holds {_all(inside)} of the application and {_all(others)} of something else.",
                    "files of one application each: split it.",
                )
            if names & conf.members:
                self._expected(
                    f"{conf.path} puts {_all(names & conf.members)} into a group.", "programs that are groups alone."
                )
        for program in programs:
            self._program(program)
        for kind in (GUNICORN, RQSCHEDULER):
            several = [program.name for program in programs if program.kind == kind]
            if len(several) > 1:
                self._expected(f"several programs run {kind}: {_all(several)}.", "one.")
        return programs

    def _program(self, program: LegacyProgram) -> None:
        if program.kind is None:
            self._expected(
                f"the program {program.name} runs `{program.command}`.",
                f"{', '.join(KINDS)} only: give it a directory and an environment of its own, or end it.",
            )
        elif program.kind not in self.wanted.programs:
            self._expected(
                f"the program {program.name} runs {program.kind}, and the inventory gives this host none.",
                "the host in the group of what it runs (web, worker, scheduler): it would have no successor.",
            )
        else:
            states = ", ".join(sorted({process.state for process in program.processes})) or "not started"
            self.found.append(f"The program {program.name} of supervisor runs {program.kind} ({states}).")

    def _main_file(self) -> None:
        path = self.places.supervisor
        for conf in self._read(path) if path.exists() else []:
            if conf.programs:
                self._expected(
                    f"{path} itself holds the programs {_all(conf.programs)}.",
                    f"programs in {self.places.programs}, a file each: the main file is replaced.",
                )
            if conf.includes and conf.includes.split() != [INCLUDED]:
                self._expected(f"{path} includes {conf.includes}.", f"{INCLUDED}, and nothing else.")

    # Processes

    def _strays(self, listed: list[Process], tree: Path) -> None:
        supervised = legacy_processes.descendants(self.everything, [process.pid for process in listed if process.pid])
        for pid, process in sorted(self.everything.items()):
            runs = process.runs_from(self.layout.repo) or process.runs_from(tree)
            if runs and pid not in supervised:
                self._expected(
                    f"process {pid}, which supervisor did not start, runs from {tree}: "
                    f"{' '.join(process.arguments[:4])}",
                    "programs of supervisor only: end it, or wait until it has ended.",
                )

    def _writes(self, family: set[int], tree: Path) -> None:
        for path in sorted(legacy_processes.written_below(family, tree, self.places.proc)):
            if not self._is_shared(path, tree):
                self._expected(
                    f"the application writes to {path}.",
                    f"nothing written below {tree}, because releases never change: move it out of there, or name its "
                    "directory in app_release_shared_directories.",
                )

    def _is_shared(self, path: Path, tree: Path) -> bool:
        return any(path.is_relative_to(tree / name) for name in self.shared)

    def _shared(self, tree: Path) -> None:
        for name in self.shared:
            place, target = tree / name, self.layout.shared / name
            both = place.is_dir() and not place.is_symlink() and target.is_dir() and any(target.iterdir())
            if both or place.is_file() or (place.is_symlink() and place.resolve() != target.resolve()):
                self._expected(
                    f"{place} cannot become {target}: {'both have files' if both else 'it is no directory'}.",
                    "a directory in one of both places (app_release_shared_directories).",
                )

    def _owner(self, programs: list[LegacyProgram]) -> None:
        """For a while programs of before and of the release store files side by side, each where the other did."""
        if not self.shared or not self.wanted.user:
            return
        for program in programs:
            family = legacy_processes.descendants(self.everything, program.pids)
            users = {self.everything[pid].user for pid in family}
            # A master may stay root, while its workers give that up.
            users = users - {ROOT} or users
            if users - {self.wanted.user_number}:
                self._expected(
                    f"the program {program.name} runs as {_all(map(user_name, users))}, and stores files in "
                    f"{_all(map(str, self.shared))} (app_release_shared_directories), where releases, which run as "
                    f"{self.wanted.user}, could not write.",
                    "the user that runs it now as webapps_user; or let the programs of before run as "
                    f"{self.wanted.user} first (`user=` in their files), and give it what is in those directories.",
                )

    def _gunicorn(self, programs: list[LegacyProgram], *, imported: bool) -> None:
        for program in (each for each in programs if each.kind == GUNICORN):
            if any(process.state != RUNNING for process in program.processes) or not program.known:
                self._expected(f"the program {program.name} does not run.", "a site that answers, to be taken over.")
            apps = {app for process in runners(program, self.everything) if (app := _app(process))}
            if apps and apps != {_whole(self.wanted.app)}:
                self._expected(f"gunicorn serves {_all(apps)}.", f"{self.wanted.app} (gunicorn_app).")
        web = GUNICORN in self.wanted.programs
        if web and not imported and not any(program.kind == GUNICORN for program in programs):
            self._expected(
                f"no program of supervisor runs gunicorn from {self.layout.root}.",
                f"one in {self.places.programs}, whose command or directory names {self.layout.repo}.",
            )

    # nginx

    def _site(self, dump: Callable[[], str], programs: list[LegacyProgram]) -> legacy_nginx.Site | None:
        if GUNICORN not in self.wanted.programs:
            return None
        try:
            text = dump()
        except WebappsError as error:
            self._expected(error.message, "an nginx with a configuration that it takes.")
            return None
        names = frozenset({self.layout.domain, *self.wanted.aliases})
        found = [site for site in legacy_nginx.of_domain(text, names) if not site.managed]
        self._default_site(found)
        managed = any(site.managed for site in legacy_nginx.of_domain(text, names))
        if not found:
            set_aside = self.aside.nginx.is_dir() and any(self.aside.nginx.rglob("*"))
            if not managed and not set_aside and any(program.kind == GUNICORN for program in programs):
                self._expected(
                    f"no virtual host of nginx is called {self.layout.domain}.", "one, which proxies to gunicorn."
                )
            return None
        if len(found) > 1:
            self._expected(
                f"several files have servers for {self.layout.domain}: {_all(str(site.path) for site in found)}.",
                "one file with all of them.",
            )
            return None
        self._check_site(found[0], names, programs)
        return found[0]

    def _default_site(self, found: Sequence[legacy_nginx.Site]) -> None:
        """The role nginx removes Debian's default site; the application's own, if it is that, is set aside first."""
        places = self.places.default_site
        differs = nginx_default_site.difference(places)
        if differs and places.enabled not in {site.path for site in found}:
            self._expected(f"{differs}.", f"{nginx_default_site.remedy(places)}.")

    def _check_site(self, site: legacy_nginx.Site, names: frozenset[str], programs: list[LegacyProgram]) -> None:
        before = len(self.problems)
        if site.path == self.places.nginx / "nginx.conf":
            self._expected(f"{site.path} itself has the virtual host.", "a file of its own, in sites-enabled.")
        if others := site.names - names:
            self._expected(
                f"{site.path} has servers for {_all(others)} as well.",
                "servers of this site alone: split the file, or name them in nginx_aliases.",
            )
        masters = [pid for program in programs if program.kind == GUNICORN for pid in program.pids]
        family = legacy_processes.descendants(self.everything, masters)
        addresses = legacy_processes.listening(family, self.places.proc)
        reached = {address.replace("localhost", "127.0.0.1") for address in site.backends} & addresses
        if addresses and not reached:
            self._expected(
                f"{site.path} proxies to {_all(site.backends)}, and gunicorn listens on {_all(addresses)}.",
                "a virtual host that proxies to gunicorn, in one file.",
            )
        certificate = {self.wanted.certificate} - {""}
        if site.certificates != certificate:
            self._expected(
                f"{site.path} has the certificate {_all(site.certificates)}.",
                f"{_all(certificate)} (nginx_tls_certificate): the site must not change its scheme or certificate.",
            )
        media = site.folders.get("/media/")
        inside = media and Path(media).is_relative_to(self.layout.repo)
        if media and inside and not self._is_shared(Path(media), self.layout.repo):
            self._expected(
                f"{site.path} serves /media/ from {media}.",
                "uploads outside of the source, or their directory in app_release_shared_directories.",
            )
        if len(self.problems) == before:
            self.found.append(f"{site.path} is the virtual host and proxies to {_all(reached)}.")
        self._renewal()

    def _renewal(self) -> None:
        path = self.places.certbot / f"{self.layout.domain}.conf"
        if not path.exists():
            return
        pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
        lines = {name.strip(): value.strip() for name, _sign, value in pairs}
        how, where = lines.get("authenticator", ""), lines.get("webroot_path", "").strip(", ")
        if how == "webroot" and where and where != self.wanted.challenges:
            self._expected(
                f"{path} has certbot write challenges to {where}.",
                f"{self.wanted.challenges} (nginx_acme_webroot), or the certificate would not be renewed.",
            )
        self.notes.append(f"certbot goes on renewing the certificate ({how or 'unknown'} in {path}).")

    def _unattended(self) -> None:
        """Files of cron and logrotate are nobody's but the administrator's, and may need another look."""
        for path in sorted(path for directory in self.places.unattended for path in directory.glob("*")):
            if path.name.startswith("webapps-") or not path.is_file():
                continue
            if str(self.layout.root) in path.read_text(encoding="utf-8", errors="replace"):
                self.notes.append(
                    f"{path} names {self.layout.root} and stays as it is: DB_backups/ and logs/ become root's, and "
                    "the logs of the collection's programs are rotated by it."
                )

    def _static(self, site: legacy_nginx.Site | None) -> Path | None:
        folder = site.folders.get("/static/") if site else None
        return Path(folder) if folder else None

    # The environment

    def _variables(self, programs: list[LegacyProgram], tree: Path | None) -> dict[str, str]:
        variables: dict[str, str] = {}
        origins: dict[str, str] = {}
        different: dict[str, set[str]] = {}
        for program in programs:
            for process in runners(program, self.everything):
                for name, value in legacy_processes.environment(process.pid, self.places.proc).items():
                    if name in NOISE or name.startswith(NOISE_PREFIX) or not environment.NAME.fullmatch(name):
                        continue
                    if variables.setdefault(name, value) != value:
                        different.setdefault(name, {origins[name]}).add(program.name)
                    origins.setdefault(name, program.name)
        for name, where in sorted(different.items()):
            self._expected(
                f"the variable {name} has another value in {_all(where)}.", "one environment for all programs."
            )
        for name, value in self._dotenv(tree).items():
            variables.setdefault(name, value)
        return variables

    def _dotenv(self, tree: Path | None) -> dict[str, str]:
        path = tree / ".env" if tree else None
        if path is None or not path.is_file():
            return {}
        try:
            return environment.parsed(path.read_text(encoding="utf-8"))
        except WebappsError as error:
            self._expected(f"{path}: {error.message}.", "a file of NAME=value lines.")
            return {}


def user_name(number: int) -> str:
    """A user as people know it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def runners(program: LegacyProgram, everything: Mapping[int, LegacyProcess]) -> list[LegacyProcess]:
    """The processes that do a program's work: below the shell that supervisor may have started, above their own."""
    family = {pid: everything[pid] for pid in legacy_processes.descendants(dict(everything), program.pids)}
    working = {pid: process for pid, process in family.items() if _works(process, program.kind)}
    return [process for pid, process in sorted(working.items()) if process.parent not in working]


def _works(process: LegacyProcess, kind: str | None) -> bool:
    shell = Path(process.arguments[0]).name in SHELLS if process.arguments else True
    return not shell and legacy_supervisor.kind_of(" ".join(process.arguments)) == kind


def _app(process: LegacyProcess) -> str:
    """The WSGI application among gunicorn's arguments: the last one, if it looks like one."""
    last = process.arguments[-1]
    parts = last.partition(":")[0].split(".")
    return _whole(last) if all(part.isidentifier() for part in parts) else ""


def _whole(app: str) -> str:
    """gunicorn takes ``module`` for ``module:application``."""
    return app if ":" in app else f"{app}:application"


def _all(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
