"""A simulated site: patients whose effusions follow, or do not follow, what a bundle says of them."""

import numpy as np

from inference.bundle import Bundle
from inference.prediction import ANY_FINDING
from inference.probability import sigmoid
from inference.training.site.labels import ReaderVerdict


def simulated(
    bundle: Bundle, patients: int, shift: float = 0.0, noise: bool = False, apart: float = 0.0, seed: int = 0
) -> list[ReaderVerdict]:
    """Verdicts of one reader on the effusions of two PA images of each patient; "none" where there is nothing.

    An effusion is there as often as the bundle's probability says, moved by `shift` in log-odds; with `noise`, in a
    third of the images whatever it says; with `apart`, in a fifth, and the log-odds differ by so much.
    """
    rng = np.random.default_rng(seed)
    verdicts = []
    for number in range(2 * patients):
        z = rng.normal(-1.5, 1.2)
        present = rng.random() < (1 / 3 if noise else sigmoid(z + shift))
        if apart:
            present = rng.random() < 0.2
            z = rng.normal(-4.5, 0.7) + (apart if present else 0.0)
        p = round(float(sigmoid(z)), 4)  # as results hold it
        shipped = dict.fromkeys(bundle.labels, 0.001) | {"Effusion": p, ANY_FINDING: p}
        finding = "Effusion" if present or rng.random() < 0.3 else "none"
        verdicts.append(ReaderVerdict(f"1.2.{number}", f"P{number // 2}", "PA", finding, bool(present), "A", shipped))
    return verdicts
