"""A daemon under attack by one peer, on this machine alone: what each attack costs it, and what the others feel.

`python -m tests.system.attack`, or `make attack`; `--short` for smaller numbers. While an attack runs, another peer
sends C-ECHO again and again, from another address: over an association that stays, and over a new one each time. The
table shows the growth of each part's memory (the most that it
had, RSS), the longest C-ECHO, and how the attack was answered. The exit status is 1 if a limit was exceeded.
"""

import argparse
import contextlib
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inference.errors import InferenceError
from inference.importing.importer import import_model
from tests.conftest import wait_for
from tests.support import hostile
from tests.support.bundles import as_settings, small_bundle
from tests.support.floods import FLOODS, flood
from tests.support.harness import Daemon
from tests.support.peers import free_port
from tests.support.raw_sender import DEFLATED, EXPLICIT, VERIFICATION, RawPeer, command, pdv, proposed, request

ECHO_SECONDS = 1.0  # the longest C-ECHO of another peer, with its association where that is new, ...
QUIET_TIMES = 20  # ... or so many times the longest without an attack, on a machine that is slow already, ...
MOST_ECHO_SECONDS = 5.0  # ... but never longer than this
GROWTH = {"receive": 64 << 20, "analyse-0": 1 << 30, "deliver": 32 << 20, "house": 64 << 20, "parent": 16 << 20}
BUFFER = 2 << 20  # bytes that the receiver sets aside for each open connection: two PDUs of the largest size
CONNECTIONS = 50  # that one address may have, with the default limits
OTHER_ADDRESS = "127.0.0.2"
CALM_SECONDS = 60.0  # how long an attack may take until all that it left has been worked on


@dataclass
class Figures:
    """What one attack did."""

    name: str
    seconds: float = 0.0
    growth: dict[str, int] = field(default_factory=dict)  # bytes, by part
    echoes: list[float] = field(default_factory=list)  # seconds
    opened: list[float] = field(default_factory=list)  # seconds: a new association, C-ECHO
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        growth = "  ".join(f"{part} +{grown >> 20}" for part, grown in self.growth.items() if grown >= 1 << 20)
        answers = ", ".join(f"{count} x {answer}" for answer, count in self.answers.most_common(4))
        waits = " | ".join(f"{max(each, default=0.0):.2f} ({len(each)})" for each in (self.echoes, self.opened))
        return f"| {self.name} | {self.seconds:.1f} | {waits} | {growth} | {answers} |"

    @property
    def longest(self) -> float:
        """The longest that another peer waited, in seconds; infinite where it was not answered at all."""
        return max(self.echoes + self.opened) if self.echoes and self.opened else float("inf")


class Attack:
    """Runs attacks on one daemon; `scale` is by what their numbers are multiplied."""

    def __init__(self, daemon: Daemon, directory: Path, scale: float, echo_seconds: float = ECHO_SECONDS):
        self.daemon, self.directory, self.scale, self.echo_seconds = daemon, directory, scale, echo_seconds
        self.http = int(daemon.environ.get("HILUM__HTTP__PORT", "0"))

    def number(self, full: int) -> int:
        return max(int(full * self.scale), 1)

    def run(self, name: str, attack: Callable[["Attack", Counter[str]], None]) -> Figures:
        """Run one attack, with another peer beside it."""
        figures, stop = Figures(name), threading.Event()
        peaks(self.daemon)
        before, parts = peaks(self.daemon), self.daemon.parts()
        beside = [threading.Thread(target=work, args=(figures, stop)) for work in (self._echo, self._open)]
        for each in beside:
            each.start()
        began = time.monotonic()
        try:
            attack(self, figures.answers)
            with self.daemon.journal() as journal:
                wait_for(lambda: not journal.counts()["RECEIVED"], CALM_SECONDS, f"the analysis after {name}")
        except AssertionError as late:
            figures.faults.append(str(late)[:200])
        figures.seconds = time.monotonic() - began
        time.sleep(0.2)
        stop.set()
        for each in beside:
            each.join()
        figures.growth = {part: peak - before.get(part, 0) for part, peak in peaks(self.daemon).items()}
        self._judge(figures, parts)
        return figures

    def _judge(self, figures: Figures, parts: dict[str, int]) -> None:
        allowed = dict(GROWTH)
        allowed["receive"] += BUFFER * min(figures.answers["connections"], CONNECTIONS)
        figures.faults += [f"{part} grew by {grown >> 20} MiB" for part, grown in figures.growth.items()
                           if grown > allowed.get(part, 1 << 40)]  # fmt: skip
        if figures.longest > self.echo_seconds:
            figures.faults.append(
                f"another peer waited {figures.longest:.2f} s for C-ECHO, {self.echo_seconds:.2f} allowed"
            )
        if self.daemon.parts() != parts:
            figures.faults.append("a part ended")
        figures.faults += [f"the daemon said {line.get('event')}" for line in self.daemon.faults()]

    def _echo(self, figures: Figures, stop: threading.Event) -> None:
        """C-ECHO over an association that stays, as another modality's worklist has it."""
        try:
            peer = RawPeer(self.daemon.port, CALM_SECONDS, OTHER_ADDRESS)
            assert peer.associate(VERIFICATION, EXPLICIT, "OTHER"), "no association"
            while not stop.is_set():
                figures.echoes.append(peer.echo())
                stop.wait(0.02)
            peer.close()
        except (OSError, AssertionError) as lost:
            figures.faults.append(f"another peer was cut off: {lost}")

    def _open(self, figures: Figures, stop: threading.Event) -> None:
        """C-ECHO over a new association each time, as a modality does that is switched on."""
        try:
            while not stop.is_set():
                began = time.monotonic()
                peer = RawPeer(self.daemon.port, CALM_SECONDS, OTHER_ADDRESS)
                assert peer.associate(VERIFICATION, EXPLICIT, "ANOTHER"), "no association"
                peer.echo()
                figures.opened.append(time.monotonic() - began)
                peer.close()
                stop.wait(0.02)
        except (OSError, AssertionError) as refused:
            figures.faults.append(f"another peer was not let in: {refused}")

    def store(self, answers: Counter[str], crafted: hostile.Crafted, syntax: str, peers: int = 1) -> None:
        """Send one object over several associations at once."""

        def send() -> None:
            status = None
            with contextlib.suppress(OSError):
                peer = RawPeer(self.daemon.port, CALM_SECONDS)
                if peer.associate(hostile.CR, syntax):
                    status = peer.store(hostile.CR, crafted.instance, crafted.data)
                peer.close()
            answers["no answer" if status is None else f"{status:04X}"] += 1

        at_once(send, peers)


def at_once(work: Callable[[], None], times: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def peaks(daemon: Daemon) -> dict[str, int]:
    """The most memory that each part had, bytes (VmHWM), and from now on the most anew."""
    found = {}
    for part, pid in daemon.parts().items():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            found[part] = 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
            Path(f"/proc/{pid}/clear_refs").write_text("5")
    return found


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections at once; those that are refused are left out."""
    held: list[socket.socket] = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    try:
        yield held
    finally:
        for one in held:
            one.close()


# --- the attacks


def quiet(attack: Attack, answers: Counter[str]) -> None:
    """No attack."""
    time.sleep(2)


def flooding(program: str) -> Callable[[Attack, Counter[str]], None]:
    """An attack: a process opens connections as fast as it can, and sends what `program` writes on each."""

    def run(attack: Attack, answers: Counter[str]) -> None:
        with flood(attack.daemon.port, program) as opened:
            time.sleep(max(20 * attack.scale, 2))
        answers["connections"] += sum(opened)

    return run


def half_open(attack: Attack, answers: Counter[str]) -> None:
    """Connections that say nothing."""
    with connections(attack.daemon.port, attack.number(500)) as held:
        time.sleep(1)
        answers["connections"] += len(held)


def slow_pdus(attack: Attack, answers: Counter[str]) -> None:
    """Requests of which a byte comes now and then."""
    whole = request([proposed(1, VERIFICATION, [EXPLICIT])])
    with connections(attack.daemon.port, attack.number(60)) as held:
        for at in range(attack.number(20)):
            for one in held:
                with contextlib.suppress(OSError):
                    one.sendall(whole[at : at + 1])
            time.sleep(0.1)
        answers["connections"] += len(held)


def many_contexts(attack: Attack, answers: Counter[str]) -> None:
    """128 presentation contexts, each with as many transfer syntaxes as a PDU may hold."""
    syntaxes = [f"1.2.3.{number}" for number in range(500)]
    whole = request([proposed(2 * n + 1, hostile.CR, syntaxes) for n in range(128)])
    for _ in range(attack.number(20)):
        peer = RawPeer(attack.daemon.port)
        with contextlib.suppress(OSError):
            peer.socket.sendall(whole)
        answers[f"PDU {peer.answer()[0]}"] += 1
        peer.close()


def inflating(attack: Attack, answers: Counter[str]) -> None:
    """Three at once of a megabyte each that inflate to a gigabyte."""
    attack.store(answers, hostile.deflated(hostile.large_value(attack.number(1_000_000_000))), DEFLATED, peers=3)


def elements(attack: Attack, answers: Counter[str]) -> None:
    """Millions of empty elements: plain, deflated, in items, nested."""
    count = attack.number(5_000_000)
    attack.store(answers, hostile.many_elements(count), EXPLICIT)
    attack.store(answers, hostile.deflated(hostile.many_elements(count)), DEFLATED, peers=3)
    attack.store(answers, hostile.many_items(count), EXPLICIT)
    attack.store(answers, hostile.nested(attack.number(50_000)), EXPLICIT)


def pictures(attack: Attack, answers: Counter[str]) -> None:
    """Codestreams of some hundred bytes that claim the largest picture, countless parts, or grow when unpacked."""
    for syntax, data in hostile.pictures():
        attack.store(answers, data, syntax)


def large_object(attack: Attack, answers: Counter[str]) -> None:
    """An object at the limit of size, in one value before Pixel Data."""
    attack.store(answers, hostile.large_value(attack.number(499_000_000)), EXPLICIT)


def tiny_objects(attack: Attack, answers: Counter[str]) -> None:
    """Many small objects, one after the other, from several associations of one peer."""

    def send() -> None:
        with contextlib.suppress(OSError):
            peer = RawPeer(attack.daemon.port, CALM_SECONDS)
            if peer.associate(hostile.CR, EXPLICIT):
                for _ in range(attack.number(60)):
                    crafted = hostile.object_with()
                    status = peer.store(hostile.CR, crafted.instance, crafted.data)
                    answers["no answer" if status is None else f"{status:04X}"] += 1
            peer.close()

    at_once(send, 5)


def hoarding(attack: Attack, answers: Counter[str]) -> None:
    """One peer holds all associations that it may, each in the middle of a command."""
    peers = []
    for _ in range(attack.number(60)):
        with contextlib.suppress(OSError):
            peer = RawPeer(attack.daemon.port, 5)
            peers.append(peer)
            accepted = peer.associate(hostile.CR, EXPLICIT)
            answers["accepted" if accepted else "rejected"] += 1
            if accepted:
                peer.socket.sendall(pdv(1, command({2: b"1.2"})[12:40]))
    time.sleep(1)
    for peer in peers:
        peer.close()


def slow_http(attack: Attack, answers: Counter[str]) -> None:
    """HTTP requests whose headers never end, and one that is very long."""
    with connections(attack.http, attack.number(200)) as held:
        for part in (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X: 1\r\n", b"X" * 100_000):
            for one in held:
                with contextlib.suppress(OSError):
                    one.sendall(part)
            time.sleep(0.3)
        answers["connections"] += len(held)


def bundles(attack: Attack, answers: Counter[str]) -> None:
    """Crafted models, imported on the same machine."""
    for name, craft in hostile.BUNDLES.items():
        source = craft(attack.directory / f"bundle-{name}")
        try:
            import_model(source, attack.directory / f"imported-{name}")
            answers[f"{name} was imported"] += 1
        except InferenceError:
            answers["refused"] += 1


ATTACKS: dict[str, Callable[[Attack, Counter[str]], None]] = {
    "half-open connections": half_open, "slow PDUs": slow_pdus, "128 contexts": many_contexts,
    "deflated gigabytes": inflating, "millions of elements": elements, "codestreams": pictures,
    "object of 500 MB": large_object, "tiny objects": tiny_objects, "one peer hoards": hoarding, "slow HTTP": slow_http,
    "crafted models": bundles, **{f"flood: {name}": flooding(program) for name, program in FLOODS.items()},
}  # fmt: skip


def attack_all(
    directory: Path, bundle: dict[str, str], scale: float, echo_seconds: float = ECHO_SECONDS
) -> list[Figures]:
    """A daemon, and one attack after the other. It may have anybody's associations, but no destination."""
    settings = {
        "HILUM__HTTP__ENABLED": "true", "HILUM__HTTP__PORT": str(free_port()),
        "HILUM__DICOM__ASSOCIATION_TIMEOUT_SECONDS": "5", "HILUM__DICOM__IDLE_TIMEOUT_SECONDS": "30", **bundle,
    }  # fmt: skip
    with Daemon(directory / "hilum", [], **settings) as daemon:
        daemon.await_event("ready to analyse", 240)
        attacks = Attack(daemon, directory, scale, echo_seconds)
        attacks.run("(warm-up)", tiny_objects)
        calm = attacks.run("none", quiet)
        attacks.echo_seconds = min(max(echo_seconds, QUIET_TIMES * calm.longest), MOST_ECHO_SECONDS)
        return [calm] + [attacks.run(name, attack) for name, attack in ATTACKS.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a twentieth of everything")
    parser.add_argument("--echo-seconds", type=float, default=ECHO_SECONDS, help="how long another peer may wait")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-attack-") as name:
        settings = as_settings(small_bundle(Path(name) / "bundle"))
        figures = attack_all(Path(name), settings, 0.05 if arguments.short else 1.0, arguments.echo_seconds)
    print(
        "| attack | seconds | longest C-ECHO of another, s (number) | with a new association | memory, MiB | answers |"
    )
    print("|---|---|---|---|---|---|")
    for one in figures:
        print(one.row())
    faults = [f"{one.name}: {fault}" for one in figures for fault in one.faults]
    print(f"{len(faults)} limits exceeded", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
