"""Liveness and readiness."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis

log = logging.getLogger(__name__)


def check_database() -> None:
    """Ask the database for an answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_redis() -> None:
    """Ask Redis for an answer, for two seconds at most."""
    with Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2) as redis:
        redis.ping()


def check_static() -> None:
    """Find the style sheet in the manifest that collectstatic wrote."""
    staticfiles_storage.url("notes/site.css")


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "redis": check_redis,
    "static": check_static,
}


def outcome(name: str, check: Callable[[], None]) -> str:
    """Return `ok`, or the kind of error; its text, which may name hosts and users, goes to the log."""
    try:
        check()
    except Exception as error:
        log.exception("health: %s failed", name)
        return type(error).__name__
    return "ok"


@never_cache
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers; a database that is away must not take every host out of the balancer."""
    return HttpResponse("alive\n", content_type="text/plain")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process can do its work: 200, or 503 with what it lacks."""
    outcomes = {name: outcome(name, check) for name, check in CHECKS.items()}
    healthy = all(result == "ok" for result in outcomes.values())
    return JsonResponse(
        {
            "status": "ok" if healthy else "failing",
            "release": settings.RELEASE.id,
            "version": settings.RELEASE.version,
            **outcomes,
        },
        status=200 if healthy else 503,
    )
