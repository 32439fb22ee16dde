"""Addresses of the sandbox application."""

from django.urls import path
from notes import health, views

urlpatterns = [
    path("", views.home, name="home"),
    path("notes/", views.notes, name="notes"),
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<int:job_id>/", views.job, name="job"),
    path("slow/", views.slow, name="slow"),
    path("alive/", health.alive, name="alive"),
    path("healthz/", health.healthz, name="healthz"),
]
