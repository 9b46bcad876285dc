"""When something that failed is tried again: every pause of the daemon is defined here.

The functions do not read the clock: they are given the time. When a delivery is due again is kept in the journal.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from config.sections import DeliverySettings
from storage.notices import Notification
from storage.records import Attempt, Delivery, Sending, Sent

# pause before a study is analysed again after the database, the spool or a system call failed
TROUBLE_SECONDS = 5.0

# pause before a part of the daemon that ended is started again: the first one, then doubled up to the longest
FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS = 0.1, 30.0

# pause before the audit trail is sent again to a syslog server that could not be reached; doubled likewise
FIRST_SYSLOG_SECONDS, LONGEST_SYSLOG_SECONDS = 1.0, 60.0

# storage commitment: how often we ask a destination; how often, and with what pause, we report again to a peer
MOST_COMMIT_REQUESTS = 3
MOST_COMMIT_REPORTS = 10
COMMIT_REPORT_SECONDS = 60.0


def doubled(first: float, failures: int, longest: float) -> float:
    """Return the pause in seconds: `first` if `failures` is 0, doubled with each further failure up to `longest`."""
    return float(min(first * 2.0 ** min(failures, 30), longest))


def after_sending(delivery: Delivery, sent: Sent, now: datetime, policy: DeliverySettings) -> Attempt:
    """Return what the journal is told of an attempt to deliver.

    After UNREACHABLE and FAILED the object is due again, later with each attempt. It counts as refused, and so goes to
    a person, once `delivery.give_up_after_seconds` are over (0: never), or once the destination has answered it with a
    failure `delivery.failures_until_refused` times over at least `delivery.failing_seconds`. Other outcomes are final.
    """
    if sent.outcome not in (Sending.UNREACHABLE, Sending.FAILED):
        return Attempt(delivery.id, sent)
    if 0 < policy.give_up_after_seconds < (now - delivery.created_at).total_seconds():
        return Attempt(delivery.id, replace(sent, outcome=Sending.REFUSED, comment=f"given up: {sent.comment}"))
    failures = delivery.failures + (sent.outcome == Sending.FAILED)
    failing = (now - (delivery.first_failed_at or now)).total_seconds()
    if (
        sent.outcome == Sending.FAILED
        and failures >= policy.failures_until_refused
        and failing >= policy.failing_seconds
    ):
        comment = f"answered so {failures} times: {sent.comment or 'without a comment'}"
        return Attempt(delivery.id, replace(sent, outcome=Sending.REFUSED, comment=comment))
    pause = doubled(policy.first_retry_seconds, delivery.attempts, policy.longest_retry_seconds)
    return Attempt(delivery.id, sent, now + timedelta(seconds=pause))


def after_notifying(
    due: Notification, sent: Sent, now: datetime, policy: DeliverySettings, give_up_after_seconds: float
) -> Attempt:
    """Return what the journal is told of an attempt to notify.

    After UNREACHABLE and FAILED another follows, with the pauses of deliveries, until `give_up_after_seconds` after the
    alert.
    """
    if sent.outcome not in (Sending.UNREACHABLE, Sending.FAILED):
        return Attempt(due.id, sent)
    if (now - due.created_at).total_seconds() > give_up_after_seconds:
        return Attempt(due.id, replace(sent, outcome=Sending.REFUSED, comment=f"given up: {sent.comment}"))
    pause = doubled(policy.first_retry_seconds, due.attempts, policy.longest_retry_seconds)
    return Attempt(due.id, sent, now + timedelta(seconds=pause))


def restart_pause(failures: int) -> float:
    """Return the seconds before a part is started again that ended `failures` times in a row, this time included."""
    return doubled(FIRST_RESTART_SECONDS, failures - 1, LONGEST_RESTART_SECONDS)
