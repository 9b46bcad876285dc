"""Reading the weights that others publish: state dicts and pickled modules. No code in a file is ever run."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from inference.arrays import StateDict
from inference.errors import ImportRefused, WeightsMismatch
from inference.importing.unpickle import NOT_ISOLATED
from inference.networks import as_state

TIME_LIMIT_SECONDS = 300


def read_foreign_state(source: Path, trust_pickle: bool = False) -> tuple[StateDict, tuple[str, ...]]:
    """Return the tensors of a file of weights, and the labels that it names itself, often none.

    Raises ImportRefused for a file that holds no weights, and for a pickle that holds more than tensors. With
    `trust_pickle`, a separate process without network takes the tensors out of such a pickle.
    """
    if source.suffix == ".safetensors":
        return load_file(source), ()
    try:
        return as_state(torch.load(source, map_location="cpu", weights_only=True), source.name), ()
    except WeightsMismatch as error:
        raise ImportRefused(str(error)) from error
    except Exception as error:  # torch raises half a dozen types for a file that holds more than tensors
        if trust_pickle:
            return convert_pickle(source)
        raise ImportRefused(
            f"{source.name} does not load as tensors only (weights_only=True): {_first(error)}. It is not a "
            "file of weights, or a pickle that can run any code when it is loaded. If you trust its source, "
            "--trust-pickle takes the tensors out of it in a process without network"
        ) from error


def convert_pickle(source: Path) -> tuple[StateDict, tuple[str, ...]]:
    """Return the tensors and labels of a pickled module, which importing/unpickle.py reads in an isolated process.

    Raises ImportRefused if the process cannot be isolated, fails, or takes longer than TIME_LIMIT_SECONDS.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights, names = Path(folder, "model.safetensors"), Path(folder, "names.json")
        program = Path(__file__).with_name("unpickle.py")
        command = [sys.executable, "-I", str(program), str(source.resolve()), str(weights), str(names)]
        try:
            done = subprocess.run(command, cwd=folder, env={"OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ImportRefused(f"{source.name} was not converted within {TIME_LIMIT_SECONDS} s") from None
        if done.returncode == NOT_ISOLATED:
            raise ImportRefused(f"{source.name} was not opened: this system does not let a process give up the "
                                "network (neither unshare nor seccomp); convert it on another machine")  # fmt: skip
        if done.returncode != 0 or not weights.is_file():
            last = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
            raise ImportRefused(f"{source.name} was not converted (status {done.returncode}): {last[:200]}")
        return load_file(weights), tuple(json.loads(names.read_text()))


def _first(error: Exception) -> str:
    """Return the essence of torch's long message: the name that it does not allow, or else the first line."""
    text = re.sub(r"\x1b\[\d+m", "", str(error)).strip()
    found = re.search(r"WeightsUnpickler error: ([^\n]*?)(?: was not an allowed global|\n|$)", text)
    first = found[1] if found else (text.splitlines() or [type(error).__name__])[0]
    return first[:160].rstrip(". ")
