"""Sends what one notifier has to tell, in a thread of its own, so that none holds back another."""

import threading

from config.alerting import NotifierSettings
from config.sections import DeliverySettings
from daemon import retries
from daemon.alerting.message import message_of
from daemon.alerting.notifier import Notifier
from daemon.alerting.notifiers import open_notifier
from daemon.decisions import place
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.vitals import DATABASE_SECONDS, WAITING_SECONDS, Vital
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.notices import Notification
from storage.records import Attempt, Sending

BATCH = 16
POLL_SECONDS = 1.0


class Messenger(threading.Thread):
    """The thread of one notifier. `vital` is what it promises; an exception ends it, after a line in the log.

    Raises CannotWork if the notifier cannot be used.
    """

    def __init__(
        self,
        settings: NotifierSettings,
        policy: DeliverySettings,
        ae_title: str,
        journal: Journal,
        stop: threading.Event,
    ):
        super().__init__(name=f"notify-{settings.name}")
        self._settings, self._policy, self._ae_title = settings, policy, ae_title
        self._notifier: Notifier = open_notifier(settings)
        self._journal, self._stop_event = journal, stop
        self.vital = Vital()
        self.vital.start()

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self._turn()
        except Exception as error:  # whatever it was, the part ends and is started again
            log.get().error("unhandled exception", error=type(error).__name__, place=place(error))

    def _turn(self) -> None:
        """Send what is due, and wait a moment if nothing is."""
        self.vital.beat(DATABASE_SECONDS)
        try:
            sent = self.send_due()
        except DatabaseUnavailable:
            log.get().warning("the database cannot be reached", notifier=self._settings.name)
            sent = 0
        if not sent:
            self.vital.beat(WAITING_SECONDS)
            self._stop_event.wait(POLL_SECONDS)

    def send_due(self) -> int:
        """Send what is due now; return the number of notifications tried.

        The round ends early if nobody answers: this notifier then sends nothing until the next attempt is due. An
        answer that is a failure holds back its own notification alone.
        """
        due = self._journal.notifications_due(self._settings.name, now(), BATCH)
        for number, notification in enumerate(due, 1):
            attempt = self._send(notification)
            if attempt.next_attempt_at is not None and attempt.sent.outcome == Sending.UNREACHABLE:
                self._journal.postpone_notifications(self._settings.name, attempt.next_attempt_at)
                return number
            if self._stop_event.is_set():
                return number
        return len(due)

    def _send(self, due: Notification) -> Attempt:
        """Make one attempt, and record and log how it ended."""
        self.vital.beat(DATABASE_SECONDS + 2 * self._settings.timeout_seconds)
        message = message_of(due, self._settings, self._ae_title)
        sent = self._notifier.send(message, now())
        give_up_after = self._settings.give_up_after_seconds
        attempt = retries.after_notifying(due, sent, now(), self._policy, give_up_after)
        self._journal.notified(attempt, now())
        failed = attempt.sent.outcome != Sending.ACCEPTED
        (log.get().warning if failed else log.get().info)(
            "notification failed" if failed else "notified",
            notifier=self._settings.name,
            study=due.study_id,
            outcome=str(attempt.sent.outcome),
            fault=attempt.sent.comment,
            attempts=due.attempts + 1,
        )
        return attempt
