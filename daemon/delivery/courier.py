"""A destination's courier: sends it what the journal holds for it, and asks it to commit what it accepted."""

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
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import Attempt, Delivery, Sending

BATCH = 16
LOOK_SECONDS = 1.0


class Courier:
    """Sends one destination what the journal holds for it; runs in a thread of its own."""

    def __init__(
        self,
        policy: DeliverySettings,
        destination: DestinationSettings,
        channel: Channel,
        journal: Journal,
        bell: Doorbell,
        stop: threading.Event,
    ):
        self._policy, self._destination, self._channel = policy, destination, channel
        self._journal, self._bell, self._stop = journal, bell, stop

    def work(self) -> None:
        """Until `stop` is set: deliver what is due, then wait for the bell."""
        while not self._stop.is_set():
            try:
                if not self.deliver_due() and not self._ask_to_commit():
                    self._bell.wait(self._longest_wait())
                    self._channel.rest()
            except DatabaseUnavailable:
                log.get().warning("the database cannot be reached", destination=self._destination.name)
                self._stop.wait(LOOK_SECONDS)
        self._channel.close()

    def _ask_to_commit(self) -> bool:
        if not isinstance(self._channel, DicomChannel) or not self._destination.commits:
            return False
        return commitment.ask(self._policy, self._journal, self._destination.name, self._channel)

    def _longest_wait(self) -> float:
        return LOOK_SECONDS if self._channel.awaits_reports else self._policy.idle_release_seconds

    def deliver_due(self) -> int:
        """Deliver what is due now; the number of objects tried. The first that finds nobody there ends the round."""
        deliveries = self._journal.due(self._destination.name, now(), BATCH)
        for number, delivery in enumerate(deliveries, 1):
            if not self._deliver(delivery) or self._stop.is_set():
                return number
        return len(deliveries)

    def _deliver(self, delivery: Delivery) -> bool:
        """Deliver one object and write down how it went; False where the destination cannot be reached."""
        began = now()
        sent = pipeline.deliver(delivery, self._channel)
        attempt = retries.after_sending(delivery, sent, now(), self._policy)
        self._journal.sent(attempt, now())
        self._log(delivery, attempt, (now() - began).total_seconds())
        if attempt.next_attempt_at is not None:
            self._leave_alone_until(attempt.next_attempt_at)
        return sent.outcome != Sending.UNREACHABLE

    def _log(self, delivery: Delivery, attempt: Attempt, seconds: float) -> None:
        log.get().info(
            "not reached" if attempt.next_attempt_at else "sent",
            delivery=delivery.id,
            study=delivery.study_id,
            kind=delivery.kind,
            destination=self._destination.name,
            outcome=attempt.sent.outcome,
            status=attempt.sent.status,
            seconds=round(seconds, 3),
        )

    def _leave_alone_until(self, due: datetime) -> None:
        """Nothing else is sent to a destination that cannot be reached before `due`."""
        self._journal.postpone(self._destination.name, due)
        self._stop.wait(self._policy.first_retry_seconds)
