"""The analysing part: takes up studies that have settled, runs the line on them, and writes down what came of it.

Each study's try is counted in the journal before its work begins, and the work runs under limits on time and memory:
an image that crashes a decoder, hangs it or eats memory ends this process, not the daemon, and is quarantined when it
did so twice.
"""

import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from config.settings import Settings
from daemon import pipeline, wiring
from daemon.decisions import Quarantine, Wait, decide, place
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm
from inference.serving.classifier import Classifier
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import AnalysisOutcome, Study
from storage.spool import Spool

IDLE_SECONDS = 1.0
SETTLING_SECONDS = 0.1


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Work until SIGTERM. Raises CannotWork where the bundle does not load."""
    stop = on_sigterm()
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings, shared.fault)
    classifier = wiring.open_classifier(settings)
    limit_memory(settings.model.memory_limit_bytes)
    worker = f"{name}@{shared.life}"
    journal.forgive_claims(shared.life)
    journal.release_claims(worker)
    analyst = Analyst(settings, shared, journal, spool, classifier)
    log.get().info("ready to analyse", engine=classifier.engine.name, model=classifier.bundle.name)
    while not stop.is_set():
        try:
            studies = journal.settled(now(), settings.study.settle_seconds, settings.model.batch, worker)
        except DatabaseUnavailable:
            log.get().warning("the database cannot be reached")
            persistently(partial(journal.release_claims, worker))  # the commit may have taken effect
            continue
        if studies:
            analyst.analyse(studies)
        else:
            shared.analyse.wait(SETTLING_SECONDS if settings.study.settle_seconds else IDLE_SECONDS)


def limit_memory(limit: int) -> None:
    """Let this process have `limit` bytes of address space at most; 0: no limit."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process, by SIGALRM's default action, if the work inside takes longer.

    A decoder that hangs in C never returns to Python, so no handler of ours could stop it. 0: no limit.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Analyst:
    """Runs the line's middle on studies that wait together."""

    def __init__(self, settings: Settings, shared: Shared, journal: Journal, spool: Spool, classifier: Classifier):
        self._settings, self._shared = settings, shared
        self._journal, self._spool, self._classifier = journal, spool, classifier

    def analyse(self, studies: Sequence[Study]) -> None:
        """One attempt at these studies; each ends analysed, waiting for another try, or in quarantine."""
        started = now().astimezone()  # in the hospital's own time, as reports are read
        looked = [(study, images) for study in studies if (images := self._looked(study)) is not None]
        try:
            with limited(self._settings.model.time_limit_seconds):
                outcomes = self._outcomes(looked, started)
            self._journal.analysed_many(outcomes, now())
        except Exception as error:
            self._fell([study for study, _ in looked], error)
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

    def _looked(self, study: Study) -> tuple[pipeline.Looked, ...] | None:
        """The study's images, selected and decoded; None where the study fell."""
        try:
            with limited(self._settings.model.time_limit_seconds):
                return pipeline.look(study, self._spool, self._settings)
        except Exception as error:
            self._fell([study], error)
            return None

    def _outcomes(
        self, looked: Sequence[tuple[Study, tuple[pipeline.Looked, ...]]], started: datetime
    ) -> list[tuple[Study, AnalysisOutcome]]:
        classified = pipeline.classify([images for _, images in looked], self._classifier, self._settings.model.batch)
        return [
            (study, pipeline.conclude(study, images, self._classifier, self._settings, started))
            for (study, _), images in zip(looked, classified, strict=True)
        ]

    def _fell(self, studies: Sequence[Study], error: Exception) -> None:
        """Carry out what the table of decisions says.

        Of several that fell together nobody knows which one did it: the error goes on and ends this process, and at
        the next start they come one by one.
        """
        decision = decide(error)
        log.get().error(
            "analysis fell",
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
                    persistently(partial(self._journal.unclaim, study.id, now(), until, reason))
                case Quarantine(reason, kind):
                    persistently(partial(self._journal.quarantine, study.id, reason, now(), kind))


def persistently(write: Callable[[], object]) -> None:
    """Carry out `write` as soon as the database can be reached."""
    while True:
        try:
            write()
            return
        except DatabaseUnavailable:
            time.sleep(IDLE_SECONDS)
