"""A program of its own: takes the tensors out of a pickled torch module without running the code that it names.

    python -I unpickle.py SOURCE TARGET.safetensors TARGET.json

First it gives up the network, other programs and writing to files. Then it unpickles with a list of harmless classes;
every other class is replaced by an empty one that only keeps its attributes. The tensors are written to the first
target and the module's labels (`pathologies` or `targets`) to the second. It imports nothing of this project, because
it runs with an empty environment and with limits on time and memory.
"""

import collections
import ctypes
import errno
import json
import os
import pickle
import platform
import resource
import struct
import sys
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_BUILTINS = {"set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str", "bytes", "complex", "slice"}
_TORCH = {"Size", "dtype", "device", "Tensor"}
_NUMPY = {"_reconstruct", "scalar", "ndarray", "dtype"}
NOT_ISOLATED = 3  # exit status: the process could not be isolated, so nothing was opened

# For each supported processor: its number (linux/audit.h), the numbers of forbidden system calls (asm/unistd.h), and
# the numbers of open and openat with the position of their flags among the arguments. Forbidden are, line by line:
# socket; execve, execveat; ptrace, process_vm_readv and _writev, kill, tkill, tgkill, rt_sigqueueinfo,
# rt_tgsigqueueinfo; rename*, mkdir*, rmdir, creat, link*, unlink*, symlink*, chmod*, chown*, truncate, mknod*, utime*,
# setxattr*, removexattr*; mount, umount2, pivot_root, chroot, unshare, setns, open_by_handle_at, swapon, quotactl; bpf,
# perf_event_open, userfaultfd, add_key, request_key, keyctl, shmget, shmat, msgget, semget, mq_open; init_module,
# finit_module, delete_module, kexec_load, kexec_file_load, reboot, settimeofday, clock_settime.
_ARCHITECTURES: dict[str, tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]] = {
    "x86_64": (
        0xC000003E,
        (41, 59, 322, 101, 310, 311, 62, 200, 234, 129, 297,
         82, 264, 316, 83, 258, 84, 85, 86, 265, 87, 263, 88, 266, 90, 91, 268, 92, 93, 94, 260, 76, 133, 259, 132, 235,
         261, 280, 188, 189, 190, 197, 198, 199, 165, 166, 155, 161, 272, 308, 304, 167, 179,
         321, 298, 323, 248, 249, 250, 29, 30, 68, 64, 240, 175, 313, 176, 246, 320, 169, 164, 227),
        ((2, 1), (257, 2)),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 221, 281, 117, 270, 271, 129, 130, 131, 138, 240,
         38, 276, 34, 37, 35, 36, 52, 53, 54, 55, 45, 33, 88, 5, 6, 7, 14, 15, 16,
         40, 39, 41, 51, 97, 268, 265, 224, 60, 280, 241, 282, 217, 218, 219, 194, 196, 186, 190, 180,
         105, 273, 106, 104, 294, 142, 170, 112),
        ((56, 2),),
    ),
}  # fmt: skip
# From this number on all processors count alike. Only these of the newer calls are allowed, so that a call that does
# not exist yet is forbidden: clone3, close_range, faccessat2, epoll_pwait2, futex_waitv, and the three futex calls.
_NEWER, _NEWER_ALLOWED = 424, (435, 436, 439, 441, 449, 454, 455, 456)
_SECCOMP = {"x86_64": 317, "aarch64": 277}  # the system call seccomp


def isolate() -> None:
    """Give up the network, other programs and writing to files for good.

    Either of two means would do for the network. Raises OSError if the system permits neither.
    """
    faults = []
    for give_up in (leave_network, forbid):
        try:
            give_up()
        except OSError as error:
            faults.append(error)
    if len(faults) == 2:
        raise faults[-1]


def leave_network() -> None:
    """Move this process into a network namespace without any interface. Raises OSError if that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET):
        if libc.unshare(flags) == 0:
            return
    raise OSError(ctypes.get_errno(), "unshare")


def forbid() -> None:
    """Forbid all threads of this process to make sockets, start programs, and open files except for reading.

    This is done by a filter on system calls, seccomp(2), which needs no privilege. Raises OSError if the system or the
    processor is not supported.
    """
    program = _filter(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program)
    fprog = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
    no_new_privileges = libc.prctl(38, 1, 0, 0, 0)
    all_threads = 1
    if no_new_privileges or libc.syscall(_SECCOMP[platform.machine()], 1, all_threads, fprog):
        raise OSError(ctypes.get_errno(), "seccomp")


def _filter(machine: str) -> bytes:
    """Return the filter as a program of the kernel's packet filter (linux/filter.h).

    Raises OSError for an unknown processor.
    """
    if machine not in _ARCHITECTURES:
        raise OSError(0, f"no list of system calls for {machine}")
    architecture, forbidden, opening = _ARCHITECTURES[machine]
    load, equal, any_bit, at_least, answer = 0x20, 0x15, 0x45, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    steps = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, kill), (load, 0, 0, 0)]
    steps += [(at_least, 0, 1, 0x40000000), (answer, 0, 0, refuse)]  # the numbers of x32, a second set on x86_64
    steps += [(at_least, 0, 2 + len(_NEWER_ALLOWED), _NEWER)]
    steps += [(equal, len(_NEWER_ALLOWED) - place, 0, number) for place, number in enumerate(_NEWER_ALLOWED)]
    steps += [(answer, 0, 0, refuse), (answer, 0, 0, allow)]
    for number in forbidden:
        steps += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    for number, argument in opening:
        steps += [(equal, 0, 4, number), (load, 0, 0, 16 + 8 * argument), (any_bit, 0, 1, writing),
                  (answer, 0, 0, refuse), (answer, 0, 0, allow)]  # fmt: skip
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (answer, 0, 0, allow)])


def limit(memory: int = 24 << 30, seconds: int = 300, file_size: int = 4 << 30) -> None:
    """Allow no core file, and bound the address space (bytes), the processor time (seconds) and the size of files."""
    bounds = {resource.RLIMIT_AS: memory, resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: file_size,
              resource.RLIMIT_CORE: 0}  # fmt: skip
    for what, bound in bounds.items():
        resource.setrlimit(what, (bound, bound))


class Stub(nn.Module):
    """Takes the place of any class that is not on the list. Keeps the attributes and does nothing."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class Unpickler(pickle.Unpickler):
    """Finds the harmless classes, and returns a stub for every other name."""

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
    """Unpickle `file`. torch calls this function of a pickle module for files in its old format."""
    return Unpickler(file).load()


def tensors(module: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the weights of a module by their names.

    They are read from the attributes because an old module lacks attributes that `state_dict` needs.
    """
    own = {**module.__dict__.get("_parameters", {}), **module.__dict__.get("_buffers", {})}
    found = {prefix + k: v.detach().clone() for k, v in own.items() if isinstance(v, torch.Tensor)}
    for name, child in module.__dict__.get("_modules", {}).items():
        if child is not None:
            found.update(tensors(child, f"{prefix}{name}."))
    return found


def _names(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple) else []


def main(source: str, weights: str, names: str) -> int:
    """Isolate this process, then convert `source`. Returns the exit status, 0 or NOT_ISOLATED."""
    with open(weights, "wb") as tensors_file, open(names, "w") as names_file:  # noqa: PTH123  (later it is forbidden)
        try:
            isolate()
        except OSError:
            return NOT_ISOLATED
        limit()
        state, labels = convert(source)
        tensors_file.write(save({name: tensor.contiguous() for name, tensor in state.items()}))
        json.dump(labels, names_file)
    return 0


def convert(source: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the tensors in the file and, if it holds a module, the labels of the module."""
    shim = type(sys)("hilum_pickle")
    shim.Unpickler, shim.load, shim.UnpicklingError = Unpickler, load, pickle.UnpicklingError  # type: ignore[attr-defined]
    loaded = torch.load(source, map_location="cpu", weights_only=False, pickle_module=shim)
    if isinstance(loaded, collections.abc.Mapping):
        loaded = next((loaded[key] for key in ("state_dict", "model") if key in loaded), loaded)
    if not isinstance(loaded, nn.Module):
        return {name: tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}, []
    found = [_names(loaded.__dict__.get(key)) for key in ("pathologies", "targets")]
    return tensors(loaded), next(filter(None, found), [])


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main(*sys.argv[1:]))  # so that nothing that was unpickled can run at exit
