"""What the application remembers."""

from django.db import models


class Note(models.Model):
    """A line somebody wrote."""

    text = models.CharField(max_length=280)
    author = models.CharField(max_length=80)
    created = models.DateTimeField(auto_now_add=True)


class Job(models.Model):
    """A background job; `runs` counts how often its body began, so that a second run shows."""

    seconds = models.FloatField()
    runs = models.PositiveIntegerField(default=0)
    release = models.CharField(max_length=80, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)

    @property
    def state(self) -> str:
        """Return `queued`, `started` or `finished`."""
        if self.finished:
            return "finished"
        return "started" if self.started else "queued"


class Heartbeat(models.Model):
    """A row per run of the periodic job."""

    release = models.CharField(max_length=80)
    created = models.DateTimeField(auto_now_add=True)
