"""When what failed is tried again: every pause of the daemon stands here.

Each function is handed the time, and returns one. When the next attempt is due stands in the journal.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from config.sections import DeliverySettings
from storage.records import Attempt, Delivery, Sending, Sent

# the database, the spool or the operating system refused: a study is taken up again after this pause
TROUBLE_SECONDS = 5.0

# a part of the daemon that ended is started again after a pause that doubles
FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS = 0.1, 30.0

# the audit trail on its way to the syslog server
FIRST_SYSLOG_SECONDS, LONGEST_SYSLOG_SECONDS = 1.0, 60.0

# storage commitment: how often a destination is asked, and how often we try to report to a peer, and when again
MOST_COMMIT_REQUESTS = 3
MOST_COMMIT_REPORTS = 10
COMMIT_REPORT_SECONDS = 60.0


def doubled(first: float, failures: int, longest: float) -> float:
    """The pause in seconds after so many failures in a row before this one: `first`, then doubled up to `longest`."""
    return float(min(first * 2.0 ** min(failures, 30), longest))


def after_sending(delivery: Delivery, sent: Sent, now: datetime, policy: DeliverySettings) -> Attempt:
    """What the journal is told of an attempt to deliver.

    After UNREACHABLE the object is due again, later with each attempt, until `delivery.give_up_after_seconds` are over
    (0: never); then it counts as refused. Every other outcome is final.
    """
    if sent.outcome != Sending.UNREACHABLE:
        return Attempt(delivery.id, sent)
    if 0 < policy.give_up_after_seconds < (now - delivery.created_at).total_seconds():
        return Attempt(delivery.id, replace(sent, outcome=Sending.REFUSED, comment=f"given up: {sent.comment}"))
    pause = doubled(policy.first_retry_seconds, delivery.attempts, policy.longest_retry_seconds)
    return Attempt(delivery.id, sent, now + timedelta(seconds=pause))


def restart_pause(failures: int) -> float:
    """Seconds until a part of the daemon is started again that ended `failures` times in a row, this time included."""
    return doubled(FIRST_RESTART_SECONDS, failures - 1, LONGEST_RESTART_SECONDS)
