"""Periodic jobs, registered under fixed ids: registering twice is registering once."""

from dataclasses import dataclass
from datetime import UTC, datetime

from rq_scheduler import Scheduler


@dataclass(frozen=True)
class PeriodicJob:
    """A function, by its dotted name, and how often it is due (seconds)."""

    id: str
    function: str
    interval: int


PERIODIC_JOBS = (PeriodicJob(id="heartbeat", function="notes.jobs.write_heartbeat", interval=15),)


def register(scheduler: Scheduler) -> None:
    """Make the periodic entries equal to PERIODIC_JOBS; what is due once stays."""
    wanted = {job.id for job in PERIODIC_JOBS}
    for entry in scheduler.get_jobs():
        if "interval" in entry.meta and entry.id not in wanted:
            scheduler.cancel(entry)
    for job in PERIODIC_JOBS:
        scheduler.schedule(
            # rq-scheduler reads a time without zone as UTC.
            scheduled_time=datetime.now(UTC).replace(tzinfo=None),
            func=job.function,
            interval=job.interval,
            id=job.id,
        )
