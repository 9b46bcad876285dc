"""Databases as earlier versions of hilum left them, filled by hand: the code that wrote them is no longer here."""

import json
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, Engine, text

from storage.database import _complete, _engine, writing
from storage.migrate import _config
from tests.support.studies import at


def at_revision(url: str, directory: Path, revision: str) -> Engine:
    """An empty database with the schema of that migration."""
    engine = _engine(_complete(url, directory))
    with writing(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


def moment(connection: Connection, seconds: float) -> Any:
    """A time as the database holds it."""
    return at(seconds).isoformat(timespec="microseconds") if connection.dialect.name == "sqlite" else at(seconds)


def result(call: str, digest: str) -> dict[str, Any]:
    """The result of one image with one finding."""
    findings = [{"finding": "Effusion", "probability": 0.83, "threshold": 0.41, "call": call}]
    return {"analysed": True, "findings": findings, "model": {"name": "chest", "version": "2", "digest": digest}}


def fill_0007(connection: Connection, studies: int, object_bytes: int = 100) -> None:
    """Studies that were analysed twice, by two models, with one image, an object of each analysis and a delivery.

    The last study was received and not analysed; of the one before, the trail has no analysis.
    """
    first, second = moment(connection, 60), moment(connection, 600)
    said = result("above", "sha256:b")
    rows = [{"key": key, "uid": f"1.2.{key}", "first": first, "second": second, "data": b"x" * object_bytes,
             "result": json.dumps(said), "content": json.dumps(said["findings"][0])}
            for key in range(1, studies + 1)]  # fmt: skip
    analysed = rows[:-1]
    _many(connection, STUDY.format(state="'DELIVERED'", analysed=":second", digest="'sha256:b'"), analysed)
    _many(connection, STUDY.format(state="'RECEIVED'", analysed="NULL", digest="''"), rows[-1:])
    _many(connection, INSTANCE.format(verdict="'analysed'", result=":result"), analysed)
    _many(connection, INSTANCE.format(verdict="''", result="NULL"), rows[-1:])
    _many(connection, FINDING, analysed)
    for number, made_at in ((1, ":first"), (2, ":second")):
        _many(connection, OBJECT.format(number=number, made_at=made_at), analysed)
        detail = {"model_digest": f"sha256:{'ab'[number - 1]}", "model_version": str(number), "revision": number}
        ended = [row | {"id": 2 * row["key"] + number, "detail": json.dumps(detail)} for row in analysed[:-1]]
        _many(connection, AUDIT.format(at=made_at), ended)
    _many(connection, DELIVERY, analysed)
    if connection.dialect.name == "postgresql":
        for table in ("study", "instance", "result_object"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))


def _many(connection: Connection, statement: str, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 5000):
        connection.execute(text(statement), rows[start : start + 5000])


STUDY = """INSERT INTO study (id, study_instance_uid, patient_id, accession_number, study_date, modality, state, reason,
revision, attempts, priority, received_at, last_received_at, claimed_by, analysed_at, model_digest) VALUES
(:key, :uid, 'P', 'A', '20260301', 'DX', {state}, '', 2, 0, 1, :first, :first, '', {analysed}, {digest})"""
INSTANCE = """INSERT INTO instance (id, study_id, series_instance_uid, sop_class_uid, sop_instance_uid,
transfer_syntax_uid, spool_name, size, sha256, calling_ae_title, peer_address, received_at, excluded, verdict, reason,
result) VALUES (:key, :key, '1.2', '1.2', :uid, '1.2', :uid, 1, :uid, 'A', '::1', :first, 0, {verdict}, '', {result})"""
FINDING = """INSERT INTO finding (study_id, position, finding, call, content)
VALUES (:key, 0, 'Effusion', 'above', :content)"""
OBJECT = """INSERT INTO result_object (id, study_id, revision, kind, sop_class_uid, sop_instance_uid,
transfer_syntax_uid, sha256, created_at, data) VALUES (2 * :key + {number}, :key, {number}, 'sr', '1.2',
:uid || '.{number}', '1.2', '', {made_at}, :data)"""
DELIVERY = """INSERT INTO delivery (object_id, study_id, destination, priority, state, attempts, next_attempt_at,
created_at, comment, failures, commitment, commit_requests, transaction_uid) VALUES
(2 * :key + 1, :key, 'pacs', 1, 'ACCEPTED', 1, :first, :first, '', 0, '', 0, '')"""
AUDIT = """INSERT INTO audit (id, at, event, study_instance_uid, sop_instance_uid, actor, from_state, to_state, detail,
previous, digest) VALUES (:id, {at}, 'ANALYSED', :uid, '', 'hilum', 'RECEIVED', 'ANALYSED', :detail, '', '')"""
