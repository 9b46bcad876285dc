"""What readers say of results: a verdict is one row that is never changed, and one row of the audit trail.

A verdict agrees or disagrees with the call of a finding on one image. A call `above` or `near` says that the finding
may be there, `below` and `not-assessed` that nothing speaks for it. So the reader says that the finding is there by
agreeing with the former and by disagreeing with the latter (it was missed). The finding "none" stands for "none of the
findings is there": agreeing with it says so, disagreeing that something is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, select

from storage.analyses import analysis, image_result
from storage.errors import BadVerdict, UnknownStudy, UnknownSubject
from storage.feedback import NONE, feedback
from storage.journal.transactions import Book, Transaction
from storage.schema import instance, study

VERDICTS = ("agree", "disagree")
CLAIMS = ("above", "near")
"""The calls that say that a finding may be there."""
LONGEST_NAME, LONGEST_NOTE = 64, 2000

_RANK = {"above": 3, "near": 2, "below": 1}
_NEW = insert(feedback)
_STUDIES = select(study).where(study.c.accession_number == bindparam("accession_number")).limit(2)
_IMAGES = (
    select(instance.c.sop_instance_uid, image_result.c.result)
    .join(image_result, image_result.c.instance_id == instance.c.id)
    .join(analysis, analysis.c.id == image_result.c.analysis_id)
    .where(instance.c.study_id == bindparam("key"), instance.c.excluded == 0, instance.c.verdict != "")
    .where(analysis.c.current == 1, analysis.c.shadow == 0)
    .order_by(instance.c.id, analysis.c.id)
)


@dataclass(frozen=True)
class Judgement:
    """What a reader says of one finding of a study."""

    study: str
    """Its Study Instance UID, or an Accession Number that no other study has."""
    finding: str
    """A finding of the model, in any case, with "_" or a space; or "none"."""
    verdict: str
    """"agree" or "disagree", with the call."""
    reader: str
    """The person's name."""
    note: str = ""
    sop_instance_uid: str = ""
    """The image; by default the one in which the finding is strongest."""


class Feedback(Book):
    """The journal's method for readers."""

    def judge(self, said: Judgement, now: datetime, actor: str = "administrator") -> dict[str, Any]:
        """Record a verdict on the result as it stands now, and return its row.

        `actor` is who entered it. Raises `UnknownStudy`, `UnknownSubject` if there is no such result to judge, and
        `BadVerdict`.
        """
        check_verdict(said)
        with self._transaction("judge") as tx:
            row = _study(tx, said.study)
            results = [(uid, result) for uid, result in tx.sql.execute(_IMAGES, {"key": row.id}) if _is_judged(result)]
            uid, result = _chosen(results, said)
            values = {"study_id": row.id, "at": now, "sop_instance_uid": uid, **_subject(result, said)}
            key = tx.sql.execute(_NEW, values).inserted_primary_key
            assert key is not None  # one row was inserted
            kept = ("finding", "verdict", "present", "call", "model_digest", "reader")
            detail = {"feedback": int(key[0]), **{name: values[name] for name in kept}}  # the note may name a patient
            tx.trail.add("FEEDBACK", now, actor=actor, study_instance_uid=row.study_instance_uid,
                         sop_instance_uid=uid, detail=detail)  # fmt: skip
        said_of = {"id": int(key[0]), "at": now.isoformat(), "study_instance_uid": row.study_instance_uid}
        return said_of | {name: value for name, value in values.items() if name not in ("study_id", "at", "result")}


def check_verdict(said: Judgement) -> None:
    """Raise `BadVerdict` for what no verdict can be."""
    if said.verdict not in VERDICTS:
        raise BadVerdict("a verdict is agree or disagree, found something else")
    if not said.reader.strip() or len(said.reader) > LONGEST_NAME:
        raise BadVerdict(f"a verdict needs its reader's name, of at most {LONGEST_NAME} characters")
    if len(said.note) > LONGEST_NOTE:
        raise BadVerdict(f"the note has {len(said.note)} characters, expected at most {LONGEST_NOTE}")


def _study(tx: Transaction, named: str) -> Row[Any]:
    """Return the row of the study with this UID or accession number."""
    found = tx.sql.execute(_STUDIES, {"accession_number": named}).all() if named else []
    try:
        return tx.study_by_uid(named)
    except UnknownStudy:
        if len(found) > 1:
            raise UnknownSubject("several studies have this accession number: give the Study Instance UID; "
                                 "hilum audit studies --accession lists them") from None  # fmt: skip
        if not found:
            raise UnknownStudy("no study in the journal has this Study Instance UID or accession number; "
                               "hilum audit studies lists them") from None  # fmt: skip
    return found[0]


def _is_judged(result: Any) -> bool:
    return bool(result and result.get("analysed") and result.get("findings"))


def _chosen(results: Sequence[tuple[str, Mapping[str, Any]]], said: Judgement) -> tuple[str, Mapping[str, Any]]:
    """Return the SOP Instance UID and the result that the verdict is about; each model has one of each image."""
    if not results:
        raise UnknownSubject("no image of this study has a result that could be judged; hilum audit studies says why")
    of_image = [one for one in results if said.sop_instance_uid in ("", one[0])]
    if not of_image:
        named = ", ".join(dict.fromkeys(uid for uid, _ in results))
        raise UnknownSubject(f"this image has no result in this study; those that have: {named}")
    knowing = [one for one in of_image if _judged(one[1], said.finding)]
    if not knowing:
        names = ", ".join(dict.fromkeys(found["finding"] for _, result in of_image for found in result["findings"]))
        raise UnknownSubject(f"the model knows no such finding; it knows {names}; or none, for nothing there")
    return max(knowing, key=lambda one: _strength(_judged(one[1], said.finding)))


def _judged(result: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the findings of a result that have this name; all of them for "none"."""
    return [f for f in result["findings"] if _plain(name) in (NONE, _plain(f["finding"]))]


def _strength(found: Sequence[Mapping[str, Any]]) -> tuple[int, float, float]:
    return max((_RANK.get(f.get("call", ""), 0), f.get("score") or 0, f.get("probability") or 0) for f in found)


def _plain(name: str) -> str:
    return name.strip().replace("_", " ").lower()


def _subject(result: Mapping[str, Any], said: Judgement) -> dict[str, Any]:
    """Return the columns that say what was judged, and what follows from the verdict."""
    agrees = said.verdict == "agree"
    if _plain(said.finding) == NONE:
        findings = result["findings"]
        call = max((f["call"] for f in findings), key=lambda call: _RANK.get(call, 0))
        judged = {"finding": NONE, "call": "above" if result.get("pathology") else call, "score": None,
                  "probability": result.get("pathology_probability"), "present": int(not agrees)}  # fmt: skip
    else:
        (found,) = _judged(result, said.finding)
        judged = {"finding": found["finding"], "call": found["call"], "score": found.get("score"),
                  "probability": found.get("probability"),
                  "present": int(agrees == (found["call"] in CLAIMS))}  # fmt: skip
    return judged | {
        "verdict": said.verdict,
        "model_digest": result.get("model", {}).get("digest", ""),
        "view": (result.get("acquisition") or {}).get("view", ""),
        "reader": said.reader.strip(),
        "note": said.note,
        "result": result,
    }
