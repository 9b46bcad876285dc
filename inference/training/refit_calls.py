"""Fitting the calls of an average of networks anew, while its weights and its probabilities stay as they are.

An `inference.ensemble.Ensemble` of the networks of a cross-validation holds them all. Each is run on the patients that
it has not seen, as in `averaging`. Of the constants of the members' last layers only the mean is known, so that a
member's logits may be off by a constant.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.arrays import Array
from inference.bundle import PACKAGED, Bundle, load_bundle, pin_packaged
from inference.ensemble import Ensemble
from inference.errors import BundleError
from inference.evaluation.data import FINDINGS, PATHOLOGY, Table, pictures, read_table
from inference.evaluation.evaluate import Scored, calibrated
from inference.evaluation.fingerprints import fingerprint
from inference.files.strict_json import strict_json
from inference.networks import define_network, read_bundle_state
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier
from inference.training.averaging import as_steady
from inference.training.fit_calls import CallLimits
from inference.training.probe import members_of, probe_out_of_fold, shares
from inference.training.train import with_calls

Tick = Callable[[int, int], None]


def refit_calls(
    data: Path, directory: Path, manifests: tuple[str, ...] = (), limits: CallLimits | None = None, version: str = "",
    tick: Tick = lambda done, total: None, ignored: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Replace what configs/calibration.json of the bundle in `directory` says of calls, and return its new content.

    `data` and `manifests` must be those of the cross-validation from which the bundle was averaged. `version` is the
    bundle's new version; it stays if that is "". A bundle of the package is pinned again. Raises DataError, and
    BundleError for a bundle that is no such average or was not calibrated on this table's findings.
    """
    bundle = load_bundle(directory)
    table = table_of(bundle, data, manifests, ignored)
    if tuple(bundle.outputs) != (*table.findings, PATHOLOGY) or "pathology" not in bundle.calibration:
        raise BundleError(f"{directory} has the outputs {list(bundle.outputs)}, expected the findings of {data}, "
                          f"{list(table.findings)}, and {PATHOLOGY}")  # fmt: skip
    table = table.take(np.flatnonzero(~table.confounded))
    content = with_calls(bundle.calibration, table, held_out_logits(bundle, table, tick), limits)
    _write(directory / "configs/calibration.json", content)
    if version:
        _write(directory / "configs/metadata.json", bundle.metadata | {"version": version})
    if directory.resolve().parent == PACKAGED:
        pin_packaged(directory.resolve().name)
    return content


def table_of(bundle: Bundle, data: Path, manifests: tuple[str, ...] = (), ignored: Sequence[str] = ()) -> Table:
    """Return the table of `data` with the findings that a trained bundle has, if it has them all."""
    labels = [label for label in bundle.outputs if label not in ("", PATHOLOGY)]
    table = read_table(data, manifests, tuple(dict.fromkeys((*FINDINGS, *labels))), ignored)
    return table.with_findings(labels) if set(labels) <= set(table.findings) else table


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(strict_json(content))


def held_out_logits(bundle: Bundle, table: Table, tick: Tick = lambda done, total: None) -> Array:
    """Return each row's logits [n, outputs] by the member that has not seen its patient.

    They are drawn together to be as steady as those of the mean. Raises BundleError for a bundle that is no average.
    """
    return as_steady(*held_out(bundle, table, tick))


def held_out(bundle: Bundle, table: Table, tick: Tick = lambda done, total: None) -> tuple[Array, Array]:
    """Return the logits of each trained member [members, n, outputs], and each row's by the one that has not seen it.

    If the bundle has a member that is not trained, what it adds is part of both, fitted without the row's fold.
    """
    return _with_probe(bundle, table, *member_logits(bundle, table, pooled_features(bundle, table, tick)))


def _with_probe(bundle: Bundle, table: Table, every: Array, rest: Array) -> tuple[Array, Array]:
    if rest.shape[1]:
        settings = bundle.metadata["training"]["probe"]
        every = every + shares(settings, len(bundle.outputs)) * probe_out_of_fold(rest, table, len(every), settings)
    return every, every[table.folds(len(every)), np.arange(len(table.rows))]


def score_out_of_fold(classifier: Classifier, table: Table, tick: Tick = lambda done, total: None) -> Scored:
    """Return what an average gives for each row if only the member counts that has not seen the row's patient.

    `table` must hold the pictures of the bundle's cross-validation or some of them. The gate is not asked. Raises
    BundleError for a bundle that is no average.
    """
    prints: list[int] = []
    every, rest = member_logits(
        classifier.bundle, table, pooled_features(classifier.bundle, table, tick, prints=prints)
    )
    logits = as_steady(*_with_probe(classifier.bundle, table, every, rest))
    return Scored(calibrated(classifier, logits), None, prints)


def member_logits(bundle: Bundle, table: Table, features: Array) -> tuple[Array, Array]:
    """Return the logits of each trained member, [members, n, outputs], and the features of the one that is not trained.

    `features` are those that `pooled_features` returns for the table.
    """
    network, (trained, _) = define_network(bundle.inference, str(bundle.directory)), members_of(bundle)
    assert isinstance(network, Ensemble)
    state, count, width = read_bundle_state(bundle), len(trained), network.sizes[0]
    own = features[:, : count * width].reshape(len(features), count, width)
    weights = state["head.weight"].float().numpy()[:, : count * width].reshape(-1, count, width) * count
    rest, added = features[:, count * width :], state["head.weight"].float().numpy()[:, count * width :]
    constant = state["head.bias"].float().numpy() + added @ rest[~table.confounded].mean(axis=0)  # without the probe
    return np.asarray(np.einsum("nmc,omc->mno", own, weights) + constant, np.float32), rest


def pooled_features(
    bundle: Bundle, table: Table, tick: Tick = lambda done, total: None, batch: int = 64,
    prints: list[int] | None = None,
) -> Array:  # fmt: skip
    """Return the input of the last layer for each row, [n, features], averaged over picture and mirror image.

    The pictures' fingerprints are added to `prints`. Raises BundleError for a bundle that is no average.
    """
    members_of(bundle)
    classifier, parts, waiting = Classifier(bundle), [], []
    for done, picture in enumerate(pictures(table), start=1):
        if prints is not None:
            prints.append(fingerprint(picture))
        waiting.append(preprocess(classifier.transform, picture))
        if len(waiting) == batch or done == len(table.rows):
            both = np.stack([np.stack(waiting), np.stack(waiting)[..., ::-1]])
            parts.append(np.mean([classifier.engine.run(np.ascontiguousarray(b)).features for b in both], axis=0))
            tick(done, len(table.rows))
            waiting = []
    return np.concatenate(parts)
