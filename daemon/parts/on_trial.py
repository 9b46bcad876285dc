"""The analyses by models on trial: after the models in use have answered, and without a word to anybody."""

from collections.abc import Sequence
from functools import partial

from config.settings import Settings
from daemon import pipeline
from daemon.analysis.examined import ReadImage
from daemon.analysis.models import Models
from daemon.analysis.routing import Route
from daemon.decisions import Quarantine, Wait, decide, place
from daemon.parts.bounds import until_written, working
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.vitals import Vital
from storage.journal import Journal
from storage.records import Trial
from storage.spool import Spool


class TrialAnalyser:
    """Has models on trial look at studies that were claimed together, all for the same model."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, models: Models, vital: Vital) -> None:
        self._settings, self._journal, self._spool = settings, journal, spool
        self._models, self._vital = models, vital

    def analyse(self, trials: Sequence[Trial], routes: Sequence[Route]) -> None:
        """Make one attempt. Each analysis ends done, waiting for another attempt, or failed; the studies stay as they
        are.

        Raises what the analysis raised if several would have to fail for it: after the restart of this process they
        come one by one.
        """
        route = next((one for one in routes if one.name == trials[0].model), None)
        if route is None:
            self._give_up(trials, "the model is no longer in the configuration")
            return
        started = now().astimezone()
        limit = self._settings.analysis.time_limit_seconds
        try:
            with working(self._vital, limit):
                images = [self._read(trial, route) for trial in trials]
                classifier = self._models.classifier(route.name)
                seen = pipeline.opinions(images, route, classifier, self._settings.analysis.batch)
                said = [
                    (trial, pipeline.model_outcome(trial.study, opinion, started))
                    for trial, opinion in zip(trials, seen, strict=True)
                ]
            self._journal.tried(said, now())
        except Exception as error:  # any fault of a decoder, the model or the database: `decide` has a row for all
            self._failed(trials, error)
            return
        log.get().info("analysed on trial", model=route.name, studies=[trial.study.id for trial in trials])

    def _read(self, trial: Trial, route: Route) -> tuple[ReadImage, ...]:
        return pipeline.read_images(trial.study, self._spool, [route], self._settings.dicom.max_pixels)

    def _failed(self, trials: Sequence[Trial], error: Exception) -> None:
        decision = decide(error)
        log.get().warning(
            "analysis on trial failed", model=trials[0].model, studies=[trial.study.id for trial in trials],
            error=type(error).__name__, place=place(error), decision=decision.reason,
        )  # fmt: skip
        match decision:
            case Wait():
                for trial in trials:
                    until_written(partial(self._journal.give_trial_back, trial), self._vital)
            case Quarantine(reason, _):
                if len(trials) > 1:
                    raise error
                self._give_up(trials, reason)

    def _give_up(self, trials: Sequence[Trial], reason: str) -> None:
        for trial in trials:
            until_written(partial(self._journal.trial_failed, trial, reason, now()), self._vital)
