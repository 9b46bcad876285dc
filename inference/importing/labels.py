"""The orders in which published networks give their labels, and who decides which of them a network has."""

from collections.abc import Sequence

from inference.bundle_writer import LABELS
from inference.errors import ImportRefused

#: The outputs of TorchXRayVision's "all" networks, in their order (torchxrayvision.datasets.default_pathologies).
XRAYVISION = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
    "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture",
    "Lung Opacity", "Enlarged Cardiomediastinum",
)  # fmt: skip
#: The outputs of networks for CheXpert (Irvin et al., AAAI 2019), in the order of its train.csv. No Finding, Pleural
#: Other and Support Devices are outputs without meaning here: no report can say them.
CHEXPERT = (
    "", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Effusion", "", "Fracture", "",
)  # fmt: skip
#: What `hilum model import --labels-of` knows.
PUBLISHED = {"nih14": LABELS, "xrv18": XRAYVISION, "chexpert14": CHEXPERT}


def named_outputs(source: str, outputs: int, given: Sequence[str], labels_of: str) -> tuple[str, ...]:
    """Return a label for each of the `outputs` of the model in the file `source`, "" for one without meaning.

    `given` holds the labels that the user or the model names, `labels_of` a key of `PUBLISHED`. Raises ImportRefused:
    the number of outputs alone does not say which labels they have.
    """
    if labels_of and labels_of not in PUBLISHED:
        raise ImportRefused(f"--labels-of is {labels_of!r}, expected one of {', '.join(PUBLISHED)}")
    labels = tuple(PUBLISHED[labels_of] if labels_of else given)
    if len(labels) == outputs:
        return labels
    alike = [name for name, known in PUBLISHED.items() if len(known) == outputs]
    orders = f", or name the published order with --labels-of {' or '.join(alike)}" if alike else ""
    raise ImportRefused(f"{source} has {outputs} outputs and {len(labels)} labels are named: give one for each with "
                        "--labels, separated by commas (nothing between two commas for an output without meaning)"
                        f"{orders}")  # fmt: skip
