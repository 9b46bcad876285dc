"""What the destinations are told of a study that went into quarantine: that it has no result."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from config.settings import Settings
from daemon import translate
from daemon.answers import result_objects
from daemon.examined import ExaminedImage
from dicom_io.image.header import read_header
from dicom_io.image.selection import select
from dicom_io.image.subject import count_patients
from storage.records import ResultObject, Study
from storage.spool import Spool

if TYPE_CHECKING:
    from inference.serving.segmenter import Model

NOT_PROCESSED = "the software could not process it; the PACS administrator can see why"


def notices(
    study: Study, spool: Spool, settings: Settings, classifier: Model, started: datetime
) -> tuple[ResultObject, ...]:
    """Return the objects that say so; only the headers of the images are read.

    There are none for destinations whose `report_ignored` is "none", for a study that is not the model's by its
    headers, and for images of several patients, because it is unknown under whose name to say it. Raises SpoolDamaged
    if a file is missing from the spool or was altered.
    """
    rules = translate.selection_rules(settings.select)
    images = []
    for instance in study.instances:
        header = read_header(spool.verified(instance.spool_name, instance.sha256))
        if select(header, rules).eligible:
            images.append(ExaminedImage(instance, header, "refused", NOT_PROCESSED))
    if not images or count_patients([image.header for image in images]) > 1:
        return ()
    told = [destination for destination in settings.destination if destination.report_ignored != "none"]
    return tuple(result_objects(study, images, images, classifier, told, started))
