"""HTTP for other programs: health, metrics, and under /api/v1 queries of the audit database and readers' verdicts."""

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from config.settings import Settings
from daemon.runtime import certificates
from daemon.runtime.visible import json_text
from daemon.runtime.vitals import Vital
from daemon.syslog.shipper import READER
from daemon.web.feedback import feedback_routes
from daemon.web.guard import Guard
from daemon.web.metrics import render
from storage.errors import DatabaseUnavailable
from storage.queries import Queries
from storage.spool import Spool
from storage.store import Store


class ExactJson(JSONResponse):
    """JSON that reads back exactly, and that can be looked at on a terminal."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json_text(content, separators=(",", ":"), allow_nan=False).encode()


def application(settings: Settings, store: Store, spool: Spool, vitals: Mapping[str, Vital] | None = None) -> Guard:
    """Return the web application, with every route, behind the guard that answers for our hosts alone.

    `vitals` are the signs of life of the daemon's processes.
    """
    app = FastAPI(
        title="hilum",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        default_response_class=ExactJson,
    )

    @app.exception_handler(DatabaseUnavailable)
    def database_unavailable(_request: Any, _error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the database cannot be reached"}, status_code=503)

    @app.exception_handler(HTTPException)
    def refused(_request: Any, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, status_code=error.status_code)

    @app.exception_handler(RequestValidationError)
    def not_understood(_request: Any, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong with which parameter, without its value, which may be a patient's."""
        faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
        return JSONResponse({"error": "; ".join(faults)}, status_code=422)

    app.include_router(_monitoring(settings, store, spool, vitals or {}))
    app.include_router(_studies(store.queries), prefix="/api/v1")
    app.include_router(feedback_routes(settings, store), prefix="/api/v1")
    return Guard(app, [settings.http.host, *settings.http.allowed_hosts])


def _monitoring(settings: Settings, store: Store, spool: Spool, vitals: Mapping[str, Vital]) -> APIRouter:
    router = APIRouter()
    expiries = certificates.expiries(settings)  # of the files that the daemon read when it started or reloaded

    @router.get("/health")
    def health() -> JSONResponse:
        """200 while every process works, the database answers and the spool has room. Otherwise 503."""
        parts = {name: vital.trouble(time.monotonic()) for name, vital in vitals.items()}
        faults = [f"{name} {trouble}" for name, trouble in parts.items() if trouble]
        body: dict[str, Any] = {"parts": {name: trouble or "works" for name, trouble in parts.items()}}
        try:
            store.journal.counts()
        except DatabaseUnavailable:
            faults.append("the database cannot be reached")
        body["spool_free_bytes"] = free = spool.free_bytes()
        if free < settings.storage.min_free_bytes:
            faults.append("spool is full")
        return JSONResponse({"status": "; ".join(faults) or "ok", **body}, status_code=503 if faults else 200)

    @router.get("/metrics")
    def metrics() -> Response:
        """The metrics, in Prometheus' text format."""
        pending = store.outbox.waiting(READER) if settings.audit.syslog else None
        page = render(store.journal, spool, expiries, pending)
        return Response(page, media_type="text/plain; version=0.0.4")

    return router


def _studies(queries: Queries) -> APIRouter:
    router = APIRouter()

    @router.get("/studies")
    def studies(
        patient_id: str = "",
        accession_number: str = "",
        finding: str = "",
        state: str = "",
        limit: int = Query(100, ge=1, le=10_000),
    ) -> list[dict[str, Any]]:
        """The studies, newest first, as printed by `hilum audit studies --json`."""
        return queries.studies(
            patient=patient_id or None,
            accession=accession_number or None,
            finding=finding or None,
            state=state.upper() or None,
            limit=limit,
        )

    @router.get("/studies/{study_instance_uid}/results")
    def results(study_instance_uid: str) -> list[dict[str, Any]]:
        """For each image of the study, the object that `hilum predict --json` prints."""
        return queries.results(study_instance_uid)

    @router.get("/studies/{study_instance_uid}/analyses")
    def analyses(study_instance_uid: str) -> list[dict[str, Any]]:
        """Which model said what of the study, oldest first, as printed by `hilum audit analyses --json`."""
        return queries.analyses(study_instance_uid)

    @router.get("/studies/{study_instance_uid}/events")
    def events(study_instance_uid: str) -> list[dict[str, Any]]:
        """The study's rows in the audit trail."""
        return queries.events(study_instance_uid)

    return router
