"""What the worker runs. Arguments are plain numbers, so that jobs survive a change of release."""

import time

import django_rq
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from .models import Heartbeat, Job

# Added to a job's own length before the worker takes it for stuck.
SPARE_SECONDS = 60


def enqueue(job: Job) -> None:
    """Hand a stored job to the worker."""
    django_rq.get_queue("default").enqueue(
        run_job, job.pk, job_id=f"job-{job.pk}", job_timeout=int(job.seconds) + SPARE_SECONDS
    )


def run_job(job_id: int) -> None:
    """Work for as long as the job says, and count that its body ran."""
    job = Job.objects.get(pk=job_id)
    Job.objects.filter(pk=job_id).update(runs=F("runs") + 1, started=timezone.now(), release=settings.RELEASE.id)
    time.sleep(job.seconds)
    Job.objects.filter(pk=job_id).update(finished=timezone.now())


def write_heartbeat() -> None:
    """Show that the scheduler is alive."""
    Heartbeat.objects.create(release=settings.RELEASE.id)
