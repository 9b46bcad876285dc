"""What came out of a run of the fuzzer."""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.support.harness import Usage


@dataclass
class Figures:
    """Counted by several threads."""

    seconds: float = 0.0
    answers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """For each kind of input, how often each answer came. Each input has one."""
    states: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    usage: list[dict[str, Usage]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, answer: str) -> None:
        """Count one input with its answer."""
        with self._lock:
            self.answers[kind][answer] += 1

    @property
    def inputs(self) -> dict[str, int]:
        """How many inputs of each kind there were."""
        return {kind: answers.total() for kind, answers in self.answers.items()}

    def lines(self) -> list[str]:
        """What `make fuzz` prints."""
        said = [f"{self.inputs} in {self.seconds:.0f} s", f"studies: {self.states}"]
        said += [f"{kind}: {dict(answers.most_common(20))}" for kind, answers in self.answers.items()]
        for part, last in self.usage[-1].items():
            first = self.usage[0].get(part, last)
            said.append(f"{part:14} {first.memory >> 20} -> {last.memory >> 20} MiB, {first.descriptors} -> "
                        f"{last.descriptors} descriptors, {first.threads} -> {last.threads} threads")  # fmt: skip
        return [*said, f"{len(self.findings)} findings", *self.findings[:50]]
