"""What the destinations are told of a study that went into quarantine: that it has no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from daemon.analysis.answers import result_objects
from daemon.analysis.examined import ExaminedImage
from daemon.analysis.routing import Route
from dicom_io.image.header import read_header
from dicom_io.image.subject import count_patients
from storage.analyses import ResultObject
from storage.records import Study
from storage.spool import Spool

if TYPE_CHECKING:
    from inference.serving.segmenter import Model

NOT_PROCESSED = "the software could not process it; the PACS administrator can see why"


def notices(
    study: Study, spool: Spool, routes: Sequence[Route], classifier: Callable[[str], Model], started: datetime
) -> tuple[ResultObject, ...]:
    """Return the objects that say so, in the name of the first model in use that an image is for.

    Only the headers of the images are read. There are none for destinations whose `report_ignored` is "none", for a
    study that is no model's by its headers, and for images of several patients, because it is unknown under whose name
    to say it. `classifier` gives a model by its name. Raises SpoolDamaged if a file is missing from the spool or was
    altered.
    """
    headers = [(one, read_header(spool.verified(one.spool_name, one.sha256))) for one in study.instances]
    in_use = [route for route in routes if not route.shadow]
    for route in in_use:
        images = [
            ExaminedImage(instance, header, "refused", NOT_PROCESSED)
            for instance, header in headers
            if route.select(header, instance.calling_ae_title).eligible
        ]
        if images and count_patients([image.header for image in images]) == 1:
            told = [destination for destination in route.destinations if destination.report_ignored != "none"]
            others = {one.name for one in in_use} - {route.name}
            return tuple(result_objects(study, images, images, classifier(route.name), told, started, others))
    return ()
