"""The scheduler of a process: jobs that repeat, none of which is dropped."""

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from daemon.runtime import log
from daemon.runtime.clock import now


def scheduler() -> BackgroundScheduler:
    """Return a scheduler that runs late jobs instead of dropping them, and logs each job that fails."""
    schedule = BackgroundScheduler(
        timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    )
    schedule.add_listener(_log_failure, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    return schedule


def start_again(schedule: BackgroundScheduler) -> None:
    """Have every job run now, and from then on at its interval: after the clock was set back, all are far ahead."""
    for job in schedule.get_jobs():
        job.modify(next_run_time=now())


def _log_failure(event: JobExecutionEvent) -> None:
    error = type(event.exception).__name__ if event.exception else "missed"
    log.get().warning("scheduled job failed", job=event.job_id, error=error)
