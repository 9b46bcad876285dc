"""The analysing part: claims studies that have settled, analyses them, and writes the results to the journal.

A study has settled when no image has been added to it for `study.settle_seconds`. Each attempt at a study is counted in
the journal before its work begins, and the work runs under limits on time and memory. An image that crashes a decoder,
hangs it or exhausts the memory ends this process and not the daemon; a study to which that happened twice is
quarantined.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from config.settings import Settings
from daemon import pipeline, wiring
from daemon.decisions import Quarantine, Wait, decide, place
from daemon.examined import ExaminedImage
from daemon.notices import notices
from daemon.runtime import log
from daemon.runtime.clock import Settling, now
from daemon.runtime.limits import limit_memory
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm
from daemon.runtime.vitals import DATABASE_SECONDS, WAITING_SECONDS, Vital
from inference.serving.segmenter import Model
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import AnalysisOutcome, ResultObject, Study
from storage.spool import Spool

IDLE_SECONDS = 1.0
SETTLING_SECONDS = 0.1


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Analyse studies until SIGTERM. Raises CannotWork if the bundle does not load."""
    stop = on_sigterm()
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings, shared.fault)
    classifier = wiring.open_classifier(settings)
    limit_memory(settings.model.memory_limit_bytes)
    worker = f"{name}@{shared.run_id}"
    journal.forgive_claims(shared.run_id)
    journal.release_claims(worker)
    vital = shared.vitals[name]
    analyser = Analyser(settings, shared, journal, spool, classifier, vital)
    settling = Settling(settings.study.settle_seconds, now(), time.monotonic())
    log.get().info("ready to analyse", engine=classifier.engine.name, model=classifier.bundle.name)
    while not stop.is_set():
        vital.beat(DATABASE_SECONDS)
        try:
            settle_seconds = settling.seconds(now(), time.monotonic())
            studies = journal.settled(now(), settle_seconds, settings.model.batch, worker)
        except DatabaseUnavailable:
            log.get().warning("the database cannot be reached")
            release = partial(journal.release_claims, worker)  # the claims may have been committed all the same
            until_written(release, vital)
            continue
        if studies:
            analyser.analyse(studies)
        else:
            vital.beat()
            shared.analyse.wait(SETTLING_SECONDS if settings.study.settle_seconds else IDLE_SECONDS)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process, by SIGALRM's default action, if the block takes longer than `seconds`; 0: no limit.

    A decoder that hangs in C code never returns to Python, so a signal handler written in Python could not stop it.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Analyser:
    """Runs the middle of the pipeline, from selection to the encoded results, on studies that were claimed together."""

    def __init__(
        self,
        settings: Settings,
        shared: Shared,
        journal: Journal,
        spool: Spool,
        classifier: Model,
        vital: Vital,
    ):
        self._settings, self._shared, self._vital = settings, shared, vital
        self._journal, self._spool, self._classifier = journal, spool, classifier

    def analyse(self, studies: Sequence[Study]) -> None:
        """Make one attempt at these studies. Each ends analysed, waiting for another attempt, or in quarantine.

        Raises what the analysis raised, if several studies would have to be quarantined for it: see `_failed`.
        """
        if studies[0].given_up:  # it comes alone
            self._explain(studies[0])
            return
        started = now().astimezone()  # local time, in which the hospital reads its reports
        examined = [(study, images) for study in studies if (images := self._read_images(study)) is not None]
        try:
            with self._limited():
                outcomes = self._outcomes(examined, started)
            self._journal.analysed_many(outcomes, now())
        except Exception as error:  # any fault of a decoder, the model or a writer: `decide` has a row for all
            self._failed([study for study, _ in examined], error)
            return
        self._shared.ring_deliver()
        for study, outcome in outcomes:
            log.get().info(
                "analysed",
                study=study.id,
                state=outcome.state,
                images=len(outcome.instances),
                seconds=round((now() - started).total_seconds(), 3),
            )

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Limit the block to `model.time_limit_seconds`; for that time, no sign of life is expected."""
        limit = self._settings.model.time_limit_seconds
        self._vital.beat(limit + WAITING_SECONDS if limit else float("inf"))
        with limited(limit):
            yield
        self._vital.beat(DATABASE_SECONDS)

    def _read_images(self, study: Study) -> tuple[ExaminedImage, ...] | None:
        """Return the study's images, selected and decoded, or None if that failed."""
        try:
            with self._limited():
                return pipeline.read_images(study, self._spool, self._settings)
        except Exception as error:  # any fault of a decoder: `decide` has a row for all
            self._failed([study], error)
            return None

    def _outcomes(
        self, examined: Sequence[tuple[Study, tuple[ExaminedImage, ...]]], started: datetime
    ) -> list[tuple[Study, AnalysisOutcome]]:
        batch = self._settings.model.batch
        classified = pipeline.classify([images for _, images in examined], self._classifier, batch)
        return [
            (study, pipeline.conclude(study, images, self._classifier, self._settings, started))
            for (study, _), images in zip(examined, classified, strict=True)
        ]

    def _failed(self, studies: Sequence[Study], error: Exception) -> None:
        """Carry out the decision of `decide`.

        If several studies failed together it is unknown which one caused it. Rather than quarantine them all, this
        raises `error`, which ends the process; after the restart they are analysed one by one.
        """
        decision = decide(error)
        log.get().error(
            "analysis failed",
            studies=[s.id for s in studies],
            error=type(error).__name__,
            place=place(error),
            decision=decision.reason,
        )
        if isinstance(decision, Quarantine) and len(studies) > 1:
            raise error
        for study in studies:
            match decision:
                case Wait(seconds, reason):
                    until = now() + timedelta(seconds=seconds)
                    until_written(partial(self._journal.unclaim, study.id, until, reason), self._vital)
                case Quarantine(reason, kind):
                    objects = self._notices(study)
                    until_written(
                        partial(self._journal.quarantine, study.id, reason, now(), kind, objects), self._vital
                    )
                    self._shared.ring_deliver()

    def _explain(self, study: Study) -> None:
        """Tell the destinations of a study that was quarantined because its analysis died."""
        if objects := self._notices(study):
            until_written(partial(self._journal.explain, study.id, objects, now()), self._vital)
            self._shared.ring_deliver()

    def _notices(self, study: Study) -> tuple[ResultObject, ...]:
        """Return what says that a study has no result; nothing where even that fails, because it is quarantined."""
        try:
            with self._limited():
                return notices(study, self._spool, self._settings, self._classifier, now().astimezone())
        except Exception as error:  # the study is quarantined for a fault that may be in its headers as well
            log.get().warning("no notice to the destinations", study=study.id, error=type(error).__name__)
            return ()


def until_written(write: Callable[[], object], vital: Vital) -> None:
    """Call `write`, which writes to the journal, again and again until the database can be reached."""
    while True:
        vital.beat(DATABASE_SECONDS)
        try:
            write()
            return
        except DatabaseUnavailable:
            time.sleep(IDLE_SECONDS)
