"""Settings of the sandbox application; everything that differs between hosts comes from the environment."""

import os
from pathlib import Path

import dj_database_url

from .environment import Environment
from .release import read_release

BASE_DIR = Path(__file__).resolve().parent.parent
RELEASE = read_release(BASE_DIR)

env = Environment(os.environ)

SECRET_KEY = env.text("SECRET_KEY")
DEBUG = env.boolean("DEBUG", default=False)
ALLOWED_HOSTS = env.mandatory_words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
CSRF_COOKIE_SECURE = env.boolean("CSRF_COOKIE_SECURE", default=True)
SECURE_PROXY_SSL_HEADER = tuple(env.words("SECURE_PROXY_SSL_HEADER", "HTTP_X_FORWARDED_PROTO,https")) or None
# Redirects to HTTPS and HSTS belong to the server in front, not to the application.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    # Before django_rq, whose rqscheduler command it extends.
    "notes",
    "django_rq",
]
MIDDLEWARE = [
    "sandboxapp.middleware.ReleaseHeader",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "sandboxapp.urls"
WSGI_APPLICATION = "sandboxapp.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "sandboxapp.context.release",
            ]
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(env.text("DATABASE_URL"), conn_max_age=60, conn_health_checks=True),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL")
RQ_QUEUES = {"default": {"URL": REDIS_URL}}

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

# Django's default mails errors to nobody when DEBUG is off; people look for them in the supervisor's log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": []},
        # rq-scheduler brings a handler of its own; once is enough.
        "rq_scheduler.scheduler": {"propagate": False},
    },
}
