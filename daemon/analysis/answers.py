"""Which result objects are made of a study, and for which destinations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING

from config.sections import DestinationSettings
from daemon import outputs, translate
from daemon.analysis.examined import ExaminedImage
from daemon.analysis.locating import location_on_page
from dicom_io.composite.analysis import Analysis, SourceImage
from dicom_io.image.selection import Sign
from storage.analyses import ResultObject
from storage.records import Study

if TYPE_CHECKING:  # the receiver and the couriers must not load torch
    from inference.serving.segmenter import Model

# Of a study in which no image is analysed: the images that a destination is told of, by what they seem to show and by
# its `report_ignored`. Results are never answered: two programs that answer each other's results would never end.
ANSWERED: dict[str, tuple[Sign, ...]] = {"chest": ("chest",), "all": ("chest", "other"), "none": ()}


def result_objects(
    study: Study,
    in_scope: Sequence[ExaminedImage],
    images: Sequence[ExaminedImage],
    classifier: Model,
    destinations: Sequence[DestinationSettings],
    started: datetime,
    others: Collection[str] = (),
) -> list[ResultObject]:
    """Each result object of a model once, with the destinations that get it.

    `others` names the other models in use: the earlier results of the study that are not theirs are this model's, and
    those of a model that it took the place of.
    """
    made: list[ResultObject] = []
    own = tuple(one for one in study.earlier if one.model_name not in others)
    study = replace(study, earlier=own)
    for named, told in _answered(in_scope, images, destinations):
        sources = tuple(_source_image(image, classifier) for image in named)
        analysis = Analysis(sources, translate.model_identity(classifier), started)
        for output in outputs.MODULES:
            for options, group in outputs.grouped(output, told):
                kind, revised = outputs.kind(output), translate.revised(analysis, study, group)
                before = translate.rejected if kind.rejects else translate.predecessors
                encoded = kind.make(revised, options, before(study.earlier, output, group, made))
                made += [translate.result_object(output, one, group) for one in encoded]
    return made


def _answered(
    in_scope: Sequence[ExaminedImage], images: Sequence[ExaminedImage], destinations: Sequence[DestinationSettings]
) -> list[tuple[Sequence[ExaminedImage], list[DestinationSettings]]]:
    """The images that a result names, and the destinations that get this result.

    Where an image is in scope, the others of the study are named too, but results of programs never are. Where none
    is, the answer depends on what the destination wants to be told of.
    """
    if in_scope:
        return [([i for i in images if i.verdict != "ignored" or i.sign != "result"], list(destinations))]
    groups: dict[tuple[int, ...], list[DestinationSettings]] = {}
    for destination in destinations:
        numbers = tuple(n for n, i in enumerate(images) if i.sign in ANSWERED[destination.report_ignored])
        groups.setdefault(numbers, []).append(destination)
    return [([images[n] for n in numbers], told) for numbers, told in groups.items() if numbers]


def _source_image(image: ExaminedImage, classifier: Model) -> SourceImage:
    """Return an image as the result objects name it, with the picture and the place of its strongest finding."""
    return replace(
        translate.source_image(image.header, image.prediction, image.reason, image.remark),
        in_scope=image.verdict != "ignored",
        pixels=image.pixels,
        location=cache(partial(location_on_page, image.header, image.pixels, image.prediction, classifier)),
    )
