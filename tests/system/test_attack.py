"""What one hostile peer does to the daemon and to other peers: `attack.py` says what is asserted. More: make attack."""

from pathlib import Path

import pytest

from tests.system.attack import attack_all


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_attack_takes_the_machine_or_keeps_others_waiting(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Floods, gigabytes, millions of elements, codestreams and models: each is answered, and nothing grows or ends.

    Meanwhile another peer's C-ECHO is answered within a second, or as many times longer as the machine is slow.
    """
    figures = attack_all(tmp_path, untrained, 0.05)
    assert {one.name: one.faults for one in figures if one.faults} == {}
    answers = {one.name: set(one.answers) for one in figures}
    assert answers["deflated gigabytes"] <= {"C000", "0000"}
    assert answers["millions of elements"] == {"C000"}
    assert answers["crafted models"] == {"refused"}
