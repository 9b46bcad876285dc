"""HTTP for readers' verdicts on results: listed for everybody who may read, taken only where a setting says so."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, ValidationError

from config.settings import Settings
from daemon.runtime.clock import now
from storage.errors import BadVerdict, UnknownStudy, UnknownSubject
from storage.journal.feedback import Judgement
from storage.store import Store

MOST_BODY_BYTES = 16_384


class JudgementBody(BaseModel):
    """The body of a POST: the options of `hilum feedback`."""

    model_config = ConfigDict(extra="forbid")
    finding: str
    verdict: str
    by: str
    note: str = ""
    image: str = ""


_SCHEMA = {"application/json": {"schema": JudgementBody.model_json_schema()}}


def feedback_routes(settings: Settings, store: Store) -> APIRouter:
    """Return the routes below /api/v1."""
    router = APIRouter()

    @router.get("/studies/{study_instance_uid}/feedback")
    def listed(study_instance_uid: str) -> list[dict[str, Any]]:
        """What readers said of the study, newest first, as printed by `hilum audit feedback --json`."""
        return store.feedback.listed(study_instance_uid=study_instance_uid)

    @router.post(
        "/studies/{study_instance_uid}/feedback",
        status_code=201,
        openapi_extra={"requestBody": {"required": True, "content": _SCHEMA}},
    )
    async def judge(study_instance_uid: str, request: Request) -> dict[str, Any]:
        """Record a verdict, as `hilum feedback` does; 403 unless `http.feedback` is true."""
        if not settings.http.feedback:
            raise HTTPException(403, "verdicts are not taken over HTTP; http.feedback = true would let them in")
        body = await _body(request)
        said = Judgement(study_instance_uid, body.finding, body.verdict, body.by, body.note, body.image)
        client = request.client.host if request.client else "unknown"
        return await run_in_threadpool(_judged, store, said, f"http {client}")

    return router


def _judged(store: Store, said: Judgement, actor: str) -> dict[str, Any]:
    try:
        return store.journal.judge(said, now(), actor)
    except (UnknownStudy, UnknownSubject) as fault:
        raise HTTPException(404, str(fault)) from None
    except BadVerdict as fault:
        raise HTTPException(422, str(fault)) from None


async def _body(request: Request) -> JudgementBody:
    """Read and check the body. A page of another site cannot send JSON without our consent, which we never give."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json")
    size = request.headers.get("content-length", "")
    if not size.isdecimal():  # the server holds a client to the length that it states
        raise HTTPException(411, "expected Content-Length")
    if int(size) > MOST_BODY_BYTES:
        raise HTTPException(413, f"found {size} bytes, expected at most {MOST_BODY_BYTES}")
    try:
        return JudgementBody.model_validate_json(await request.body())
    except ValidationError as error:  # without the values, which may be a patient's
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
        raise HTTPException(422, "; ".join(faults)) from None
