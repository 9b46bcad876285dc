"""`hilum quarantine`, `hilum retry` and `hilum replay`: what a person can do about a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.database import actor, carry_out, note_reading, store_of
from daemon.cli.options import AsCsv, AsJson, Config, StudyUid
from daemon.cli.spooled import header_of, spool_of
from daemon.cli.tables import show
from daemon.runtime.clock import now

if TYPE_CHECKING:
    from dicom_io.image.header import Header

quarantine = typer.Typer(help="List and settle the studies that need a person's decision.", no_args_is_help=True)


@quarantine.command("list")
def quarantined(context: typer.Context, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the studies in quarantine, each with the reason."""
    store = store_of(config)
    rows = store.queries.quarantined()
    note_reading(store, context)
    columns = ["accession_number", "patient_id", "reason", "received_at", "attempts", "study_instance_uid"]
    show(rows, columns, as_json, as_csv)


@quarantine.command("show")
def shown(
    context: typer.Context, study_uid: StudyUid, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """Show everything that happened to a study."""
    store = store_of(config)
    rows = store.queries.events(study_uid)
    note_reading(store, context)
    show(rows, ["id", "at", "event", "from_state", "to_state", "actor", "detail"], as_json, as_csv)


@quarantine.command("images")
def images_of(
    context: typer.Context, study_uid: StudyUid, config: Config = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """List the images of a study, each with what its header says of the patient."""
    store, spool = store_of(config), spool_of(config)
    rows = [{**row, **_patient(header_of(spool, row))} for row in store.queries.images(study_uid)]
    note_reading(store, context)
    columns = ["patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "accession_number"]
    show(rows, [*columns, "received_at", "verdict", "sop_instance_uid"], as_json, as_csv)


@quarantine.command()
def release(
    study_uid: StudyUid,
    patient: Annotated[str, typer.Option(help="Keep only the images with this Patient ID; exclude the others.")] = "",
    keep: Annotated[
        list[str] | None, typer.Option(help="Keep the image with this SOP Instance UID; may repeat.")
    ] = None,
    config: Config = None,
) -> None:
    """Let the daemon try again: refused deliveries if there are any, otherwise the analysis.

    Where the images are of several patients, --patient or --keep says which of them belong to the study.
    """
    if not patient and not keep:
        carry_out(config, lambda journal: journal.release(study_uid, now(), actor()), "released")
        return
    spool = spool_of(config)
    headers = {row["sop_instance_uid"]: header_of(spool, row) for row in store_of(config).queries.images(study_uid)}
    kept = [uid for uid, header in headers.items() if uid in (keep or ()) or (patient and header.patient_id == patient)]
    names = ("patient_id", "accession_number", "study_date", "modality")
    identity = {name: getattr(headers[kept[0]], name) for name in names} if kept else {}
    unknown = [uid for uid in keep or () if uid not in headers]
    carry_out(
        config,
        lambda journal: journal.keep_images(study_uid, kept + unknown, identity, now(), actor()),
        f"released with {len(kept)} of {len(headers)} images",
    )


@quarantine.command()
def discard(study_uid: StudyUid, config: Config = None) -> None:
    """Give up a study. It gets the state IGNORED, and nothing more of it is delivered; its records are kept."""
    carry_out(config, lambda journal: journal.discard(study_uid, now(), actor()), "discarded")


def retry(study_uid: StudyUid, config: Config = None) -> None:
    """Deliver a study's results again now, including those that were refused."""
    carry_out(
        config, lambda journal: journal.retry(study_uid, now(), actor()), "result object(s) will be delivered now"
    )


def replay(study_uid: StudyUid, config: Config = None) -> None:
    """Analyse a study again from the spool. If the result differs, a new report is sent that names the old one."""
    carry_out(config, lambda journal: journal.replay(study_uid, now(), actor()), "the study will be analysed again")


def _patient(header: Header) -> dict[str, str]:
    keywords = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "AccessionNumber")
    names = ("patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "accession_number")
    return {name: header.text(keyword) for name, keyword in zip(names, keywords, strict=True)}
