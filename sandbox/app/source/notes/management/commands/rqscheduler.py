"""django-rq's rqscheduler, after registering this application's periodic jobs."""

import django_rq
from django_rq.management.commands import rqscheduler

from notes import schedule


class Command(rqscheduler.Command):
    """Register the periodic jobs, then run the scheduler."""

    def handle(self, *args: str, **options: object) -> None:
        schedule.register(django_rq.get_scheduler(str(options["queue"])))
        super().handle(*args, **options)
