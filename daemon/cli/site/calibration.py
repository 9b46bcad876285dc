"""`hilum evaluate --site`: a site's own calibration, fitted to readers' verdicts and taken only where it is better."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import typer

from daemon.cli.database import note, store_of
from daemon.cli.model import tried
from daemon.cli.options import settings_of
from daemon.cli.tables import print_json, say, show
from daemon.decisions import CannotWork
from daemon.wiring import open_bundle

FILE = "site-calibration.json"
REMARK = (
    "The figures are of the images that were judged. If readers judge mainly what was called, or mainly what was "
    "missed, they do not hold for the others."
)


def evaluate_site(config: Path | None, out: Path | None, as_json: bool) -> None:
    """Print for each finding what was compared and decided; write the file to `out` if anything is taken."""
    from inference.training.site.fit_site import fit_site

    try:
        bundle = open_bundle(settings_of(config).model_in_use())
    except CannotWork as fault:
        say(str(fault), err=True)
        raise typer.Exit(2) from None
    store = store_of(config)
    verdicts = store.feedback.standing()
    own = [row for row in verdicts if row["model_digest"] == bundle.digest]
    content = tried(lambda: fit_site(reader_verdicts(own), bundle))
    note(store, "AUDIT_READ", {"command": "evaluate --site"})
    if as_json:
        print_json(content)
    else:
        _print(content, len(verdicts) - len(own))
    _write(content, out, err=as_json)


def reader_verdicts(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the rows of `FeedbackQueries.standing` as `fit_site` takes them.

    A patient without an identifier is the study's. Where a site's calibration was in force already, the bundle's own
    probabilities count, which the result holds too.
    """
    from inference.training.site.labels import ReaderVerdict

    return [
        ReaderVerdict(row["sop_instance_uid"], row["patient_id"] or row["study_instance_uid"], row["view"],
                      row["finding"], bool(row["present"]), row["reader"], _shipped(row["result"]))
        for row in rows
    ]  # fmt: skip


def _shipped(result: Mapping[str, Any]) -> dict[str, float]:
    from inference.prediction import ANY_FINDING

    shipped = {f["finding"]: f.get("shipped_probability", f["probability"]) for f in result["findings"]}
    overall = result.get("shipped_pathology_probability", result.get("pathology_probability"))
    return shipped if overall is None else shipped | {ANY_FINDING: overall}


def _print(content: Mapping[str, Any], others: int) -> None:
    evidence, model = content["evidence"], content["model"]
    say(f"{model['name']} {model['version']} {model['digest']}")
    say(f"{evidence['verdicts']} verdicts on {evidence['images']} images of {evidence['patients']} patients")
    if others:
        say(f"{others} verdicts on other models do not count")
    if evidence["divided"]:
        say(f"readers are equally divided {evidence['divided']} times; those labels do not count")
    columns = ["finding", "labels", "positives", "patients", "shipped", "constant", "platt", "isotonic", "decision",
               "reason"]  # fmt: skip
    say("Probabilities: log loss on patients that the maps were not fitted on")
    show([_map_row(name, found) for name, found in evidence["findings"].items()], columns)
    say("Thresholds:")
    show(list(_threshold_rows(evidence["findings"])), ["finding", "view", "decision", "reason"])
    say(REMARK)


def _map_row(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    counts = {key: found[key] for key in ("labels", "positives", "patients", "decision", "reason")}
    return {"finding": name, **counts, **found.get("log_loss", {})}


def _threshold_rows(findings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each finding and view; a reason that both views share is said once."""
    from inference.training.site.limits import TOO_FEW

    rows = []
    for name, found in findings.items():
        views: dict[tuple[str, str], list[str]] = {}
        for view, part in found["thresholds"].items():
            reason = TOO_FEW if part["reason"].startswith(TOO_FEW) else part["reason"]
            views.setdefault((part["decision"], reason), []).append(view)
        rows += [{"finding": name, "view": ", ".join(which), "decision": decision, "reason": reason}
                 for (decision, reason), which in views.items()]  # fmt: skip
    return rows


def _write(content: Mapping[str, Any], out: Path | None, err: bool) -> None:
    """Write the file, and say which lines of the configuration put it into force."""
    if not content["findings"]:
        say("Nothing is taken: the bundle's own calibration stays, and no file is written.", err=err)
        return
    if out is None:
        say(f"With --out DIR this is written as {FILE}, which [model] site_calibration puts into force.", err=err)
        return
    text = json.dumps(content, indent=1) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_text(text, encoding="utf-8")
    except OSError as fault:
        say(f"{out / FILE} cannot be written: {fault.strerror}", err=True)
        raise typer.Exit(1) from None
    say(f'site_calibration = "{(out / FILE).resolve()}"', err=err)
    say(f'site_digest = "sha256:{sha256(text.encode()).hexdigest()}"', err=err)
