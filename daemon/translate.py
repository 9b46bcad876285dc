"""From the values of one leaf to those of another, field by field: the leaves do not know each other."""

from typing import Any

from config.settings import Destination, Select
from dicom_io.header import Header
from dicom_io.receive import Arrived
from dicom_io.report import FindingResult, ModelIdentity, ReportOptions
from dicom_io.select import SelectionRules
from inference.bundle import Bundle
from inference.prediction import Prediction
from storage.records import ReceivedObject, Spooled


def received_object(header: Header, arrived: Arrived, spooled: Spooled) -> ReceivedObject:
    """What the journal notes of an object."""
    return ReceivedObject(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        patient_id=header.patient_id,
        accession_number=header.accession_number,
        study_date=header.study_date,
        modality=header.modality,
        calling_ae_title=arrived.calling_ae_title,
        peer_address=arrived.peer_address,
        spooled=spooled,
        priority=arrived.priority,
    )


def selection_rules(select: Select) -> SelectionRules:
    """The settings' rules as `dicom_io.select` wants them; an empty list means its own."""
    return SelectionRules(**{key: value for key, value in select.model_dump().items() if value != ()})


def model_identity(bundle: Bundle) -> ModelIdentity:
    """What a report says of the model."""
    return ModelIdentity(name=bundle.name, version=bundle.version, digest=bundle.digest, trained=bundle.trained)


def finding_results(prediction: Prediction | None) -> tuple[FindingResult, ...]:
    """A report's findings; none where the image was not analysed."""
    if prediction is None or not prediction.analysed:
        return ()
    return tuple(FindingResult(f.finding, f.probability, f.threshold, f.call) for f in prediction.findings)


def report_options(destination: Destination) -> ReportOptions:
    """How this destination wants its reports."""
    return ReportOptions(sr_class=destination.sr_class, sr_title=destination.sr_title, language=destination.language)


def findings(prediction: Prediction) -> list[dict[str, Any]]:
    """The journal's summary of a study."""
    return [
        {"finding": f.finding, "probability": f.probability, "threshold": f.threshold, "call": f.call}
        for f in prediction.findings
    ]
