"""`hilum model import`: a bundle of somebody's own model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.model import TrackingUri, found_at, say_made, tried
from daemon.cli.tables import say

Source = Annotated[
    str,
    typer.Argument(
        help="A state dict (.pt, .safetensors), ONNX file, MONAI bundle, Hugging Face folder, models:/NAME@ALIAS."
    ),
]
Target = Annotated[Path, typer.Argument(help="The new bundle's folder; must not exist.")]
ModelName = Annotated[str, typer.Option(help="The model's name in reports.")]
Version = Annotated[str, typer.Option(help="Its version.")]
Labels = Annotated[str, typer.Option(help="Comma-separated labels of its outputs; nothing: an output without meaning.")]
Findings = Annotated[
    Path | None, typer.Option(help="A TOML file with your own findings and their codes, for model.findings.")
]
LabelsOf = Annotated[
    str, typer.Option(help="Instead of --labels: nih14, xrv18 or chexpert14, the order of published networks.")
]
OutputKind = Annotated[
    str, typer.Option(help="What it gives: logits, softmax (logits, one label is right) or probabilities.")
]
Size = Annotated[int, typer.Option(help="Side of its input in pixels; 0: as the file says, else 224.")]
Preprocessing = Annotated[str, typer.Option(help="xrayvision, imagenet or standard; default: its own or by channels.")]
Thresholds = Annotated[str, typer.Option(help="LABEL=0.4,LABEL=0.3; default: its own, else 0.5.")]
TrustPickle = Annotated[bool, typer.Option(help="Unpickle a whole module, in a process without network.")]


def import_(
    source: Source, directory: Target, name: ModelName = "", version: Version = "imported", labels: Labels = "",
    findings: Findings = None, labels_of: LabelsOf = "", output: OutputKind = "", size: Size = 0,
    preprocessing: Preprocessing = "", thresholds: Thresholds = "", trust_pickle: TrustPickle = False,
    tracking_uri: TrackingUri = "",
) -> None:  # fmt: skip
    """Make a bundle of your own model. It runs once its digest is pinned in model.digest."""
    from inference.importing.importer import Wanted, import_model

    try:
        by_label = {k: float(v) for k, v in (part.split("=") for part in thresholds.split(",") if part)}
    except ValueError:
        raise typer.BadParameter(f"{thresholds!r}: write LABEL=0.4,LABEL=0.3") from None
    wanted = Wanted(
        name=name, version=version, labels=labels.split(",") if labels else (), labels_of=labels_of, output=output,
        size=size, preprocessing=preprocessing, thresholds=by_label, trust_pickle=trust_pickle,
    )  # fmt: skip
    with found_at(source, tracking_uri) as place:
        made = tried(lambda: import_model(place, directory, wanted, lambda bundle: _ensure_coded(bundle, findings)))
    for number, label in enumerate(made.outputs):
        say(f"output {number}: {label or '(without meaning)'}", err=True)
    say_made(made)
    if findings:
        typer.echo(f'findings = "{findings.resolve()}"')


def _ensure_coded(made: Any, findings: Path | None) -> None:
    """Raise ImportRefused for a label that no report could name."""
    from dicom_io.composite.codes import UnknownFinding, add_findings, check_findings
    from inference.errors import ImportRefused

    try:
        if findings:
            add_findings(findings)
        check_findings(made.labels)
    except UnknownFinding as error:
        raise ImportRefused(str(error)) from error
