"""The analysing part: claims studies that have settled, analyses them, and writes the results to the journal.

A study has settled when no image has been added to it for `study.settle_seconds`. Each attempt at a study is counted in
the journal before its work begins, and the work runs under limits on time and memory. An image that crashes a decoder,
hangs it or exhausts the memory ends this process and not the daemon; a study to which that happened twice is
quarantined.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from config.settings import Settings
from daemon import pipeline, wiring
from daemon.analysis.examined import ReadImage
from daemon.analysis.models import Models
from daemon.analysis.notices import notices
from daemon.analysis.routing import Route, routes
from daemon.decisions import Quarantine, Wait, decide, place
from daemon.parts.bounds import until_written, working
from daemon.parts.on_trial import TrialAnalyser
from daemon.runtime import log
from daemon.runtime.clock import Settling, now
from daemon.runtime.limits import limit_memory
from daemon.runtime.shared import Shared
from daemon.runtime.stopping import on_sigterm
from daemon.runtime.vitals import DATABASE_SECONDS, Vital
from storage.analyses import ResultObject, UsedModel
from storage.errors import DatabaseUnavailable
from storage.journal import Journal
from storage.records import AnalysisOutcome, Study
from storage.spool import Spool

IDLE_SECONDS = 1.0
SETTLING_SECONDS = 0.1


def run(settings: Settings, shared: Shared, name: str) -> None:
    """Analyse studies until SIGTERM. Raises CannotWork if a bundle does not load."""
    stop = on_sigterm()
    journal, spool = wiring.open_store(settings, shared.fault).journal, wiring.open_spool(settings, shared.fault)
    models = wiring.open_models(settings)
    limit_memory(settings.analysis.memory_limit_bytes)
    worker = f"{name}@{shared.run_id}"
    journal.forgive_claims(shared.run_id)
    journal.release_claims(worker)
    vital = shared.vitals[name]
    analyser = Analyser(settings, shared, journal, spool, models, vital)
    on_trial = TrialAnalyser(settings, journal, spool, models, vital)
    settling = Settling(settings.study.settle_seconds, now(), time.monotonic())
    first = models.classifier(settings.model_in_use().name)
    log.get().info("ready to analyse", engine=first.engine.name, model=first.bundle.name, models=len(settings.model))
    while not stop.is_set():
        vital.beat(DATABASE_SECONDS)
        try:
            routed = routes(settings, journal.promotions())
            settle_seconds = settling.seconds(now(), time.monotonic())
            studies = journal.settled(now(), settle_seconds, settings.analysis.batch, worker)
            if studies:
                analyser.analyse(studies, routed)
            trials = journal.waiting_trials(settings.analysis.batch, worker)
        except DatabaseUnavailable:
            log.get().warning("the database cannot be reached")
            release = partial(journal.release_claims, worker)  # the claims may have been committed all the same
            until_written(release, vital)
            continue
        if trials:
            on_trial.analyse(trials, routed)
        if not studies and not trials:
            vital.beat()
            shared.analyse.wait(SETTLING_SECONDS if settings.study.settle_seconds else IDLE_SECONDS)


class Analyser:
    """Runs the middle of the pipeline, from selection to the encoded results, on studies that were claimed together."""

    def __init__(
        self,
        settings: Settings,
        shared: Shared,
        journal: Journal,
        spool: Spool,
        models: Models,
        vital: Vital,
    ):
        self._settings, self._shared, self._vital = settings, shared, vital
        self._journal, self._spool, self._models = journal, spool, models

    def analyse(self, studies: Sequence[Study], routed: Sequence[Route]) -> None:
        """Make one attempt at these studies. Each ends analysed, waiting for another attempt, or in quarantine.

        Raises what the analysis raised, if several studies would have to be quarantined for it: see `_failed`.
        """
        if studies[0].given_up:  # it comes alone
            self._explain(studies[0], routed)
            return
        started = now().astimezone()  # local time, in which the hospital reads its reports
        examined = [(study, images) for study in studies if (images := self._read_images(study, routed)) is not None]
        try:
            with working(self._vital, self._settings.analysis.time_limit_seconds):
                outcomes = self._outcomes(examined, routed, started)
            self._journal.analysed_many(outcomes, now())
        except Exception as error:  # any fault of a decoder, the model or a writer: `decide` has a row for all
            self._failed([study for study, _ in examined], error, routed)
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

    def _read_images(self, study: Study, routed: Sequence[Route]) -> tuple[ReadImage, ...] | None:
        """Return the study's images, decoded where a model is for them, or None if that failed."""
        try:
            with working(self._vital, self._settings.analysis.time_limit_seconds):
                return pipeline.read_images(study, self._spool, routed, self._settings.dicom.max_pixels)
        except Exception as error:  # any fault of a decoder: `decide` has a row for all
            self._failed([study], error, routed)
            return None

    def _outcomes(
        self, examined: Sequence[tuple[Study, tuple[ReadImage, ...]]], routed: Sequence[Route], started: datetime
    ) -> list[tuple[Study, AnalysisOutcome]]:
        """Ask each model in use of all the studies, then conclude study by study."""
        seen = [images for _, images in examined]
        batch = self._settings.analysis.batch
        said = [
            pipeline.opinions(seen, route, self._models.classifier(route.name), batch)
            for route in routed
            if not route.shadow
        ]
        return [
            (study, pipeline.conclude(study, opinions, self._settings, started, trials(images, routed)))
            for (study, images), opinions in zip(examined, zip(*said, strict=True), strict=True)
        ]

    def _failed(self, studies: Sequence[Study], error: Exception, routed: Sequence[Route]) -> None:
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
                    objects = self._notices(study, routed)
                    until_written(
                        partial(self._journal.quarantine, study.id, reason, now(), kind, objects), self._vital
                    )
                    self._shared.ring_deliver()

    def _explain(self, study: Study, routed: Sequence[Route]) -> None:
        """Tell the destinations of a study that was quarantined because its analysis died."""
        if objects := self._notices(study, routed):
            until_written(partial(self._journal.explain, study.id, objects, now()), self._vital)
            self._shared.ring_deliver()

    def _notices(self, study: Study, routed: Sequence[Route]) -> tuple[ResultObject, ...]:
        """Return what says that a study has no result; nothing where even that fails, because it is quarantined."""
        try:
            with working(self._vital, self._settings.analysis.time_limit_seconds):
                return notices(study, self._spool, routed, self._models.classifier, now().astimezone())
        except Exception as error:  # the study is quarantined for a fault that may be in its headers as well
            log.get().warning("no notice to the destinations", study=study.id, error=type(error).__name__)
            return ()


def trials(images: Sequence[ReadImage], routed: Sequence[Route]) -> list[UsedModel]:
    """Return the models on trial that an image of a study is for."""
    return [
        UsedModel(route.name)
        for route in routed
        if route.shadow and any(image.verdicts[route.name].eligible for image in images)
    ]
