"""A server laid out by hand in a temporary directory: its files are real, /proc and supervisord are made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils import nginx_default_site
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Places, Survey, Wanted, survey
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    RUNNING,
    Process,
    SupervisorNotRunningError,
)

DOMAIN = "amy.example.org"
CERTIFICATE = f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem"
SECRET = "canary-of-the-environment"
MAIN_FILE = "[supervisord]\nlogfile=/var/log/s.log\n[include]\nfiles = /etc/supervisor/conf.d/*.conf\n"
COMMANDS = {
    "gunicorn": [".venv/bin/gunicorn", "--workers=3", "config.wsgi"],
    "rqworker": [".venv/bin/python", "manage.py", "rqworker", "default"],
    "rqscheduler": [".venv/bin/python", "manage.py", "rqscheduler"],
}
# The kernel's row of a gunicorn that listens on 127.0.0.1:8000.
TCP = "  sl  local_address rem_address   st tx rx tr tm retrnsmt   uid  timeout inode\n"
TCP_ROW = "   0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 0 1000 0 {inode} 1 0 100 0 0 10 0\n"


@dataclass
class LegacyHost:
    """One host; what a test changes is what differs from the layout that is known."""

    top: Path
    wanted_programs: list[str] = field(default_factory=lambda: list(COMMANDS))
    app: str = "config.wsgi:application"
    certificate: str = CERTIFICATE
    shared: list[str] = field(default_factory=list)
    user: tuple[str, int | None] = ("amy", 1000)
    supervisor_runs: bool = True
    listed: list[Process] = field(default_factory=list)
    pids: int = 100

    def __post_init__(self) -> None:
        self.layout = Layout(self.top / "webapps" / DOMAIN, self.top / "run")
        self.places = Places(
            proc=self.top / "proc",
            supervisor=self.top / "supervisord.conf",
            programs=self.top / "conf.d",
            packages=self.top / "packages",
            nginx=self.top / "nginx",
            default_site=nginx_default_site.Places(
                self.top / "nginx/sites-enabled/default",
                self.top / "nginx/sites-available/default",
                self.top / "packages/status",
            ),
            certbot=self.top / "renewal",
            unattended=[self.top / "cron.d"],
        )
        for path in (
            self.layout.repo / ".venv/bin",
            self.layout.repo / "staticfiles",
            self.layout.releases,
            self.layout.environments,
            self.layout.static,
            self.places.proc / "net",
            self.places.programs,
            self.places.packages,
            self.places.nginx / "sites-enabled",
            self.places.nginx / "sites-available",
            self.places.certbot,
            self.top / "cron.d",
        ):
            path.mkdir(parents=True)
        repo = self.layout.repo
        (repo / "manage.py").write_text("import config\n")
        (repo / "staticfiles/site.0123456789ab.css").write_text("a {}\n")
        (repo / ".venv/bin/python").symlink_to("/usr/bin/python3")
        (repo / ".venv/bin/gunicorn").write_text(f"#!{repo}/.venv/bin/python\n")
        (repo / ".venv/bin/gunicorn").chmod(0o755)
        (repo / ".venv/pyvenv.cfg").write_text(f"version = 3.11.2\ncommand = python -m venv {repo}/.venv\n")
        self.places.supervisor.write_text(MAIN_FILE)
        (self.places.packages / "supervisor.list").touch()
        for kind in COMMANDS:
            self.program(kind, COMMANDS[kind])
        self.site()

    def program(self, name: str, command: list[str], *, runs: bool = True, text: str = "") -> int:
        """A program of supervisor, and its process unless it does not run."""
        section = f"[program:{name}]\ncommand={' '.join(command)}\ndirectory={self.layout.repo}\n{text}"
        (self.places.programs / f"{name}.conf").write_text(section)
        pid = self.process(command) if runs else 0
        self.listed.append(Process(name, name, RUNNING if runs else "STOPPED", pid))
        return pid

    def process(self, command: list[str], *, parent: int = 1, variables: dict[str, str] | None = None) -> int:
        self.pids += 1
        place = self.places.proc / str(self.pids)
        (place / "fd").mkdir(parents=True)
        (place / "fdinfo").mkdir()
        (place / "status").write_text(
            f"Name:\tx\nPPid:\t{parent}\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000\n"
        )
        (place / "stat").write_text(f"{self.pids} (python) (x)) S {parent} {'0 ' * 17}{self.pids * 100} 0\n")
        (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in command) + b"\0")
        (place / "cwd").symlink_to(self.layout.repo)
        named = {"SECRET_KEY": SECRET, "PATH": "/bin", "SUPERVISOR_ENABLED": "1", **(variables or {})}
        (place / "environ").write_bytes(b"\0".join(f"{name}={value}".encode() for name, value in named.items()))
        return self.pids

    def opens(self, pid: int, path: Path, *, flags: str) -> None:
        """Let a process have a file open."""
        place = self.places.proc / str(pid)
        number = str(len(list((place / "fd").iterdir())) + 3)
        (place / "fd" / number).symlink_to(path)
        (place / "fdinfo" / number).write_text(f"pos:\t0\nflags:\t{flags}\n")

    def site(self, name: str = "amy", *, names: str = DOMAIN, backend: str = "127.0.0.1:8000", more: str = "") -> Path:
        """A virtual host, and the port that gunicorn listens on."""
        path = self.places.nginx / "sites-enabled" / name
        path.write_text(
            f"server {{ listen 80; server_name {names}; return 301 https://$host$request_uri; }}\n"
            f"server {{\n listen 443 ssl;\n server_name {names};\n ssl_certificate {CERTIFICATE};\n"
            f" location /static/ {{ alias {self.layout.repo}/staticfiles/; }}\n{more}"
            f" location / {{ proxy_pass http://{backend}; }}\n}}\n"
        )
        gunicorn = next(process.pid for process in self.listed if process.group == "gunicorn")
        self.opens(gunicorn, Path("socket:[4711]"), flags="02")
        (self.places.proc / "net/tcp").write_text(TCP + TCP_ROW.format(inode=4711))
        return path

    def dump(self) -> str:
        parts = ["# configuration file /etc/nginx/nginx.conf:\nhttp {}\n"]
        parts += [
            f"# configuration file {path}:\n{path.read_text()}\n"
            for path in sorted((self.places.nginx / "sites-enabled").iterdir())
        ]
        return "\n".join(parts)

    def processes(self) -> list[Process]:
        if not self.supervisor_runs:
            raise SupervisorNotRunningError("supervisord does not run: nobody answers")
        return self.listed

    def look(self) -> Survey:
        wanted = Wanted(
            self.wanted_programs,
            self.app,
            certificate=self.certificate,
            challenges="/var/www/acme",
            shared=self.shared,
            user=self.user[0],
            user_number=self.user[1],
        )
        return survey(self.layout, wanted, self.processes, self.dump, self.places)
