"""A destination's courier: sends what the journal holds for it, and asks it to commit to what it accepted."""

import threading
from datetime import datetime

from config.sections import DeliverySettings, DestinationSettings
from daemon import pipeline, retries
from daemon.channel import Channel
from daemon.delivery import commitment
from daemon.delivery.dicom import DicomChannel
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.doorbell import Doorbell
from daemon.runtime.vitals import DATABASE_SECONDS, WAITING_SECONDS, Vital
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import Attempt, Delivery, Sending

BATCH = 16
STEPS = 20  # of one attempt, each within `delivery.timeout_seconds`: connect, associate, send the PDUs of an object
BREAKS = 3  # after how many attempts without an answer the destination is asked whether it is there at all
POLL_SECONDS = 1.0  # how often the journal is asked for work that no bell announced


class Courier:
    """Delivers to one destination, in a thread of its own."""

    def __init__(
        self,
        policy: DeliverySettings,
        destination: DestinationSettings,
        channel: Channel,
        journal: Journal,
        bell: Doorbell,
        stop: threading.Event,
        vital: Vital | None = None,
    ):
        self._policy, self._destination, self._channel = policy, destination, channel
        self._journal, self._bell, self._stop, self._vital = journal, bell, stop, vital or Vital()

    def work(self) -> None:
        """Until `stop` is set, deliver what is due and then wait for the bell. Closes the channel at the end."""
        while not self._stop.is_set():
            self._vital.beat(self._longest_attempt())
            try:
                if not self.deliver_due() and not self._ask_to_commit():
                    self._vital.beat(self._longest_wait() + WAITING_SECONDS)
                    self._bell.wait(self._longest_wait())
                    self._channel.rest()
            except DatabaseUnavailable:
                log.get().warning("the database cannot be reached", destination=self._destination.name)
                self._stop.wait(POLL_SECONDS)
        self._channel.close()

    def deliver_due(self) -> int:
        """Deliver what is due now; return the number of objects tried.

        The round ends early if the destination cannot be reached: it then gets nothing until the next attempt is due. A
        status, whichever it is, is an answer: it holds back its own object and no other. So does an object at which the
        destination breaks off again and again although it is there.
        """
        deliveries = self._journal.due(self._destination.name, now(), BATCH)
        for number, delivery in enumerate(deliveries, 1):
            attempt = self._deliver(delivery)
            due = attempt.next_attempt_at if attempt.sent.outcome == Sending.UNREACHABLE else None
            if due is not None and not self._breaks_off_at(delivery):
                self._postpone_all(due)
                return number
            if self._stop.is_set():
                return number
        return len(deliveries)

    def _deliver(self, delivery: Delivery) -> Attempt:
        """Send one object, and record and log how that ended."""
        self._vital.beat(self._longest_attempt())
        began = now()
        sent = pipeline.deliver(delivery, self._channel)
        attempt = retries.after_sending(delivery, sent, now(), self._policy)
        self._journal.sent(attempt, now())
        self._log(delivery, attempt, (now() - began).total_seconds())
        return attempt

    def _log(self, delivery: Delivery, attempt: Attempt, seconds: float) -> None:
        outcome = Sending(attempt.sent.outcome)
        log.get().info(
            {Sending.UNREACHABLE: "destination unreachable", Sending.FAILED: "delivery failed"}.get(outcome, "sent"),
            delivery=delivery.id,
            study=delivery.study_id,
            kind=delivery.kind,
            destination=self._destination.name,
            outcome=str(outcome),
            status=attempt.sent.status,
            seconds=round(seconds, 3),
        )

    def _breaks_off_at(self, delivery: Delivery) -> bool:
        """Return whether it is this object that gets no answer: it was tried before, and the destination is there."""
        return delivery.attempts >= BREAKS and not self._channel.test()

    def _postpone_all(self, due: datetime) -> None:
        """Have nothing else sent to this destination before `due`, since it cannot be reached, and pause."""
        self._journal.postpone(self._destination.name, due)
        self._stop.wait(self._policy.first_retry_seconds)  # whatever else may become due meanwhile

    def _ask_to_commit(self) -> bool:
        """Ask the destination for storage commitment where that is due; return whether it was asked."""
        if not isinstance(self._channel, DicomChannel) or not self._destination.commits:
            return False
        return commitment.ask(self._policy, self._journal, self._destination.name, self._channel)

    def _longest_attempt(self) -> float:
        """Return the seconds that one attempt may take, with the pause after it; each step has its own time limit."""
        policy = self._policy
        return DATABASE_SECONDS + STEPS * policy.timeout_seconds + policy.first_retry_seconds

    def _longest_wait(self) -> float:
        return POLL_SECONDS if self._channel.awaits_reports else self._policy.idle_release_seconds
