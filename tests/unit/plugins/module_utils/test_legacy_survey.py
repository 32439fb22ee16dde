"""What a server laid out by hand must look like, and what the refusal says when it does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import legacy_nginx, legacy_processes
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import kind_of
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import checked

from tests.unit.plugins.legacy_host import COMMANDS, DOMAIN, SECRET, LegacyHost


@pytest.fixture
def host(tmp_path: Path) -> LegacyHost:
    return LegacyHost(tmp_path)


def test_the_known_layout_is_found_whole(host: LegacyHost) -> None:
    seen = checked(host.look())
    assert not seen.adopted
    assert {program.kind: program.name for program in seen.programs} == {kind: kind for kind in COMMANDS}
    assert seen.site is not None
    assert seen.site.path.name == "amy"
    assert seen.static == host.layout.repo / "staticfiles"
    assert seen.variables == {"SECRET_KEY": SECRET}


def link_elsewhere(host: LegacyHost) -> None:
    host.layout.repo.rename(host.layout.root / "checkout")
    host.layout.repo.symlink_to("checkout")


def move_venv(host: LegacyHost) -> None:
    (host.layout.repo / ".venv").rename(host.layout.root / "venv")


def put_into_the_main_file(host: LegacyHost) -> None:
    text = "[program:mail]\ncommand=/usr/bin/mail\n"
    host.places.supervisor.write_text(host.places.supervisor.read_text() + text)


def share_a_file(host: LegacyHost) -> None:
    path = host.places.programs / "rqworker.conf"
    path.write_text(path.read_text() + "[program:other]\ncommand=/usr/bin/other\n")


def put_into_a_group(host: LegacyHost) -> None:
    (host.places.programs / "group.conf").write_text("[group:amy]\nprograms=gunicorn,rqworker\n")


def write_below_the_tree(host: LegacyHost) -> None:
    host.opens(host.listed[0].pid, host.layout.repo / "logs/server.log", flags="0102001")


def differ_in_a_variable(host: LegacyHost) -> None:
    (host.places.proc / str(host.listed[1].pid) / "environ").write_bytes(b"SECRET_KEY=another-canary")


def stop_gunicorn(host: LegacyHost) -> None:
    host.listed = [process for process in host.listed if process.group != "gunicorn"]


def renew_elsewhere(host: LegacyHost) -> None:
    (host.places.certbot / f"{DOMAIN}.conf").write_text("authenticator = webroot\nwebroot_path = /var/www/html,\n")


def share_twice(host: LegacyHost) -> None:
    host.shared.append("media")
    for place in (host.layout.repo, host.layout.shared):
        (place / "media").mkdir(parents=True)
        (place / "media/upload").touch()


def store_as_another_user(host: LegacyHost) -> None:
    host.shared.append("media")
    host.user = ("www-webapps", 998)


def store_before_there_is_a_user(host: LegacyHost) -> None:
    host.shared.append("media")
    host.user = ("www-webapps", None)


CASES: dict[str, tuple[Callable[[LegacyHost], object], str, str]] = {
    "repo is a link": (link_elsewhere, "repo is a link to checkout", "a plain directory"),
    "no environment inside": (move_venv, "there is no {repo}/.venv/bin/python", "its virtual environment"),
    "no package": (
        lambda host: (host.places.packages / "supervisor.list").unlink(),
        "the package supervisor is not installed",
        "Debian's supervisor",
    ),
    "supervisor stopped": (
        lambda host: setattr(host, "supervisor_runs", False),
        "supervisord does not run",
        "a running supervisor",
    ),
    "programs in the main file": (put_into_the_main_file, "itself holds the programs mail", "a file each"),
    "another include": (
        lambda host: host.places.supervisor.write_text("[include]\nfiles = /etc/supervisor.d/*.ini\n"),
        "includes /etc/supervisor.d/*.ini",
        "/etc/supervisor/conf.d/*.conf",
    ),
    "a file of two applications": (share_a_file, "holds rqworker of the application and other", "split it"),
    "a group": (put_into_a_group, "puts gunicorn, rqworker into a group", "groups alone"),
    "an unknown program": (
        lambda host: host.program("celery", [".venv/bin/celery", "worker"]),
        "the program celery runs `.venv/bin/celery worker`",
        "gunicorn, rqworker, rqscheduler only",
    ),
    "two gunicorns": (
        lambda host: host.program("second", COMMANDS["gunicorn"]),
        "several programs run gunicorn: gunicorn, second",
        "one",
    ),
    "a program without a successor": (
        lambda host: host.wanted_programs.remove("rqworker"),
        "runs rqworker, and the inventory gives this host none",
        "no successor",
    ),
    "a process of nobody": (
        lambda host: host.process([f"{host.layout.repo}/.venv/bin/python", "manage.py", "runserver"]),
        "which supervisor did not start",
        "programs of supervisor only",
    ),
    "a log inside": (write_below_the_tree, "writes to {repo}/logs/server.log", "releases never change"),
    "another application": (
        lambda host: setattr(host, "app", "amy.wsgi:application"),
        "gunicorn serves config.wsgi:application",
        "amy.wsgi:application (gunicorn_app)",
    ),
    "gunicorn does not run": (stop_gunicorn, "the program gunicorn does not run", "a site that answers"),
    "no virtual host": (
        lambda host: (host.places.nginx / "sites-enabled/amy").unlink(),
        f"no virtual host of nginx is called {DOMAIN}",
        "one, which proxies to gunicorn",
    ),
    "two virtual hosts": (lambda host: host.site("amy2"), "several files have servers", "one file with all"),
    "a site of two applications": (
        lambda host: host.site(names=f"{DOMAIN} other.example.org"),
        "has servers for other.example.org as well",
        "split the file",
    ),
    "a site that proxies elsewhere": (
        lambda host: host.site(backend="127.0.0.1:9000"),
        "proxies to 127.0.0.1:9000, and gunicorn listens on 127.0.0.1:8000",
        "proxies to gunicorn",
    ),
    "a default site of somebody's own": (
        lambda host: (host.places.nginx / "sites-enabled/default").write_text("server { server_name shop.org; }\n"),
        "sites-enabled/default is not the link to",
        "a site under a name of its own",
    ),
    "another certificate": (lambda host: setattr(host, "certificate", ""), "has the certificate", "must not change"),
    "uploads inside": (
        lambda host: host.site(more=f" location /media/ {{ alias {host.layout.repo}/media/; }}\n"),
        "serves /media/ from",
        "uploads outside of the source",
    ),
    "files of another user": (
        store_as_another_user,
        "and stores files in media (app_release_shared_directories), where releases, which run as www-webapps",
        "the user that runs it now as webapps_user",
    ),
    "files of a user and no user yet": (
        store_before_there_is_a_user,
        "the program rqworker runs as",
        "run as www-webapps first",
    ),
    "shared files in two places": (share_twice, "both have files", "in one of both places"),
    "challenges elsewhere": (renew_elsewhere, "write challenges to /var/www/html", "nginx_acme_webroot"),
    "two environments": (differ_in_a_variable, "SECRET_KEY has another value in gunicorn, rqworker", "one environment"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unknown_layout_is_refused_with_what_was_found_and_expected(host: LegacyHost, case: str) -> None:
    change, found, expected = CASES[case]
    change(host)
    with pytest.raises(WebappsError) as refusal:
        checked(host.look())
    said = refusal.value.message
    assert found.format(repo=host.layout.repo) in said
    assert expected in said
    assert "nothing was changed" in said
    assert "canary" not in said


def test_a_refusal_lists_everything_at_once(host: LegacyHost) -> None:
    host.program("celery", [".venv/bin/celery", "worker"])
    renew_elsewhere(host)
    put_into_a_group(host)
    with pytest.raises(WebappsError) as refusal:
        checked(host.look())
    assert len(refusal.value.details["problems"]) == 3  # type: ignore[arg-type]
    assert f"{host.layout.repo}/manage.py is there." in refusal.value.message


def test_a_default_site_that_is_the_applications_own_is_taken_over(host: LegacyHost) -> None:
    (host.places.nginx / "sites-enabled/amy").unlink()
    path = host.site("default")
    assert checked(host.look()).site == legacy_nginx.of_domain(host.dump(), {DOMAIN})[0]
    assert path.exists()


def test_what_is_written_to_shared_directories_is_no_problem(host: LegacyHost) -> None:
    host.shared.append("logs")
    write_below_the_tree(host)
    assert checked(host.look()).shared == [PurePosixPath("logs")]


def test_a_master_that_stays_root_is_no_other_user(host: LegacyHost) -> None:
    host.shared.append("media")
    gunicorn = next(process.pid for process in host.listed if process.group == "gunicorn")
    host.process(["gunicorn: worker"], parent=gunicorn)
    status = host.places.proc / str(gunicorn) / "status"
    status.write_text(status.read_text().replace("1000\t1000\t1000\t1000\nGid", "0\t0\t0\t0\nGid"))
    assert checked(host.look()).programs


def test_programs_that_store_nothing_may_run_as_anybody(host: LegacyHost) -> None:
    host.user = ("www-webapps", 998)
    assert checked(host.look()).programs


def test_other_applications_are_none_of_its_business(host: LegacyHost) -> None:
    (host.places.programs / "other.conf").write_text("[program:other]\ncommand=/usr/bin/other\ndirectory=/srv\n")
    (host.places.nginx / "sites-enabled/other").write_text("server { server_name other.example.org; }\n")
    assert [program.name for program in checked(host.look()).programs] == sorted(COMMANDS)


def test_a_directory_whose_name_begins_alike_is_another_application(host: LegacyHost) -> None:
    path = host.places.programs / "stage.conf"
    path.write_text(f"[program:stage]\ncommand=gunicorn x\ndirectory={host.layout.root}.stage/repo\n")
    assert "stage" not in [program.name for program in checked(host.look()).programs]


def test_the_environment_is_that_of_the_process_below_a_shell(host: LegacyHost) -> None:
    gunicorn = host.listed[0].pid
    (host.places.proc / str(gunicorn) / "cmdline").write_bytes(b"/bin/bash\0-c\0exec gunicorn config.wsgi\0")
    (host.places.proc / str(gunicorn) / "environ").write_bytes(b"SECRET_KEY=of-the-shell")
    host.process(COMMANDS["gunicorn"], parent=gunicorn, variables={"ONLY": "below"})
    assert checked(host.look()).variables == {"SECRET_KEY": SECRET, "ONLY": "below"}


def test_a_dotenv_file_adds_what_the_processes_lack(host: LegacyHost) -> None:
    (host.layout.repo / ".env").write_text("export SECRET_KEY=older\nADMIN='me'\n")
    assert checked(host.look()).variables == {"SECRET_KEY": SECRET, "ADMIN": "me"}


def test_what_cron_does_with_the_application_is_told_and_left_alone(host: LegacyHost) -> None:
    (host.top / "cron.d/dump").write_text(f"0 3 * * * amy pg_dump amy > {host.layout.root}/DB_backups/amy.dump\n")
    (host.top / "cron.d/other").write_text("0 3 * * * root true\n")
    (note,) = checked(host.look()).notes
    assert note.startswith(f"{host.top}/cron.d/dump names {host.layout.root} and stays as it is")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/webapps/x/repo/.venv/bin/gunicorn config.wsgi", "gunicorn"),
        ("python -m gunicorn config.wsgi", "gunicorn"),
        ("gunicorn: master [amy]", "gunicorn"),
        ("/x/.venv/bin/rq worker default", "rqworker"),
        ("python manage.py rqworker high default", "rqworker"),
        ("rq:worker:abc: Listening on default", "rqworker"),
        (".venv/bin/rqscheduler --interval 60", "rqscheduler"),
        ("python manage.py rqscheduler", "rqscheduler"),
        (".venv/bin/celery worker", None),
    ],
)
def test_programs_are_known_by_their_commands(command: str, kind: str | None) -> None:
    assert kind_of(command) == kind


def test_the_kernel_tells_where_a_process_listens_and_what_it_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        (tmp_path / "log").open("a") as log,
        (tmp_path / "source").open("w"),
        (tmp_path / "source").open(),
    ):
        unix.bind(path)
        unix.listen()
        found = legacy_processes.listening([os.getpid()])
        written = legacy_processes.written_below([os.getpid()], tmp_path)
        assert log.writable()
        assert {f"127.0.0.1:{tcp.getsockname()[1]}", path} <= found
    assert written == {tmp_path / "log", tmp_path / "source"}


def test_a_site_is_read_with_its_upstream_names_and_folders() -> None:
    text = """# configuration file /etc/nginx/sites-enabled/amy:
upstream app { server unix:/run/amy.sock fail_timeout=0; }
server {
    server_name amy.example.org www.amy.example.org;
    ssl_certificate /c.pem;
    location /static/ { alias /srv/static/; }
    location /media { root /srv; }
    location / { proxy_pass http://app; }
}
"""
    (site,) = legacy_nginx.of_domain(text, frozenset({"amy.example.org"}))
    assert site.names == {"amy.example.org", "www.amy.example.org"}
    assert site.certificates == {"/c.pem"}
    assert site.backends == {"/run/amy.sock", "app"}
    assert site.folders == {"/static/": "/srv/static/", "/media": "/srv/media"}
    assert not site.managed
