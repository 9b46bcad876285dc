"""Run as a program of its own: the tensors of a pickled torch module, without running what the pickle asks for.

    python -I unpickle.py SOURCE TARGET.safetensors TARGET.json

It gives up the network first, then unpickles with a list of harmless classes; every other class is replaced by an
empty one that only keeps its attributes. What remains is written as tensors, with the module's `pathologies`.
Imports nothing of this project: it runs isolated, with an empty environment and limits on time and memory.
"""

import collections
import ctypes
import json
import os
import pickle
import resource
import sys
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_BUILTINS = {"set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str", "bytes", "complex", "slice"}
_TORCH = {"Size", "dtype", "device", "Tensor"}
_NUMPY = {"_reconstruct", "scalar", "ndarray", "dtype"}
NO_NETWORK_NAMESPACE = 3


def leave_network() -> None:
    """Move this process into a network namespace without any interface; OSError where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET):
        if libc.unshare(flags) == 0:
            return
    raise OSError(ctypes.get_errno(), "unshare")


def limit(memory: int = 24 << 30, seconds: int = 300, file_size: int = 4 << 30) -> None:
    """No core file, and bounds on address space, processor time and what is written."""
    bounds = {resource.RLIMIT_AS: memory, resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: file_size,
              resource.RLIMIT_CORE: 0}  # fmt: skip
    for what, bound in bounds.items():
        resource.setrlimit(what, (bound, bound))


class Stub(nn.Module):
    """Stands for any class that is not on the list."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class Unpickler(pickle.Unpickler):
    """Finds harmless classes, and stubs for all others."""

    def find_class(self, module: str, name: str) -> Any:
        if "." not in name and _harmless(module, name):
            return super().find_class(module, name)
        return type("Stub", (Stub,), {})


def _harmless(module: str, name: str) -> bool:
    if module.startswith("torch.nn.modules."):
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and issubclass(found, nn.Module)
    return (
        (module == "torch" and (name in _TORCH or name.endswith("Storage")))
        or (module == "torch._utils" and name.startswith("_rebuild_"))
        or (module == "torch.nn.parameter" and name in {"Parameter", "Buffer"})
        or (module == "torch.storage" and name.endswith("Storage"))
        or (module == "collections" and name in {"OrderedDict", "defaultdict"})
        or (module in {"builtins", "__builtin__"} and name in _BUILTINS)
        or (module.startswith("numpy") and name in _NUMPY)
    )


def load(file: Any, **_options: Any) -> Any:
    """What torch asks of a pickle module, for its old file format."""
    return Unpickler(file).load()


def tensors(module: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """The state dict, read from the attributes themselves: an old module lacks what `state_dict` wants."""
    own = {**module.__dict__.get("_parameters", {}), **module.__dict__.get("_buffers", {})}
    found = {prefix + k: v.detach().clone() for k, v in own.items() if isinstance(v, torch.Tensor)}
    for name, child in module.__dict__.get("_modules", {}).items():
        if child is not None:
            found.update(tensors(child, f"{prefix}{name}."))
    return found


def _names(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple) else []


def main(source: str, weights: str, names: str) -> int:
    """Convert; the exit status says what went wrong."""
    try:
        leave_network()
    except OSError:
        return NO_NETWORK_NAMESPACE
    limit()
    shim = type(sys)("hilum_pickle")
    shim.Unpickler, shim.load, shim.UnpicklingError = Unpickler, load, pickle.UnpicklingError  # type: ignore[attr-defined]
    loaded = torch.load(source, map_location="cpu", weights_only=False, pickle_module=shim)
    if isinstance(loaded, collections.abc.Mapping):
        loaded = next((loaded[key] for key in ("state_dict", "model") if key in loaded), loaded)
    module = isinstance(loaded, nn.Module)
    state = tensors(loaded) if module else {k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
    found = {key: _names(loaded.__dict__.get(key)) for key in ("pathologies", "targets")} if module else {}
    with open(names, "w") as file:  # noqa: PTH123
        json.dump(found.get("pathologies") or found.get("targets") or [], file)
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main(*sys.argv[1:]))  # nothing that was unpickled gets to run at exit
