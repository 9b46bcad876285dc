"""A destination's courier: brings it what the journal holds for it, and asks it to commit what it accepted."""

import threading
from dataclasses import replace
from datetime import timedelta

from config.sections import DeliverySettings, DestinationSettings
from daemon import pipeline
from daemon.delivery import commitment
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.doorbell import Doorbell
from dicom_io.services.store_scu import Sender
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import Delivery, Sending

BATCH = 16
LOOK_SECONDS = 1.0


class Courier:
    """Brings one destination what the journal holds for it."""

    def __init__(
        self,
        policy: DeliverySettings,
        destination: DestinationSettings,
        sender: Sender,
        journal: Journal,
        bell: Doorbell,
        stop: threading.Event,
    ):
        self._policy, self._destination, self._sender = policy, destination, sender
        self._journal, self._bell, self._stop = journal, bell, stop

    def work(self) -> None:
        """Until `stop` is set: deliver what is due, then wait for the bell."""
        while not self._stop.is_set():
            try:
                if not self.deliver_due() and not self._ask_to_commit():
                    self._bell.wait(self._longest_wait())
                    self._sender.release_if_idle()
            except DatabaseUnavailable:
                log.get().warning("the database is not to be reached", destination=self._destination.name)
                self._stop.wait(LOOK_SECONDS)
        self._sender.close()

    def _ask_to_commit(self) -> bool:
        return commitment.ask(self._policy, self._journal, self._destination, self._sender)

    def _longest_wait(self) -> float:
        """A destination that commits may report on the association that we keep, and waits for our answer then."""
        reports = self._destination.storage_commitment and self._sender.is_open
        return LOOK_SECONDS if reports else self._policy.idle_release_seconds

    def deliver_due(self) -> int:
        """Deliver what is due now; the number of objects tried."""
        deliveries = self._journal.due(self._destination.name, now(), BATCH)
        for number, delivery in enumerate(deliveries, 1):
            if not self._deliver(delivery) or self._stop.is_set():
                return number
        return len(deliveries)

    def _deliver(self, delivery: Delivery) -> bool:
        """Deliver one object and write down how it went; False where the destination had better be left alone."""
        began = now()
        result = pipeline.deliver(delivery, self._sender)
        reached = result.outcome != Sending.UNREACHABLE
        again = None if reached else now() + timedelta(seconds=pause_seconds(delivery.attempts, self._policy))
        if again and 0 < self._policy.give_up_after_seconds < (now() - delivery.created_at).total_seconds():
            result, again = replace(result, outcome=Sending.REFUSED, comment=f"given up: {result.comment}"), None
        self._journal.sent(delivery.id, result, now(), again)
        log.get().info(
            "sent" if reached else "not reached",
            delivery=delivery.id,
            study=delivery.study_id,
            kind=delivery.kind,
            destination=self._destination.name,
            outcome=result.outcome,
            status=result.status,
            seconds=round((now() - began).total_seconds(), 3),
        )
        if again:
            self._journal.postpone(self._destination.name, again)
            self._stop.wait(self._policy.first_retry_seconds)
        return reached


def pause_seconds(attempts: int, policy: DeliverySettings) -> float:
    """The pause after one more failure: doubled with each, up to the longest."""
    return float(min(policy.first_retry_seconds * 2.0 ** min(attempts, 30), policy.longest_retry_seconds))
