"""Whatever one peer floods us with ends by a limit or by time, and meanwhile the others are served."""

import contextlib
import select
import socket
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from daemon.parts.receive import SWITCH_SECONDS
from dicom_io.network.admission import AddressQueues, Limits, Peer
from dicom_io.network.tls import Renewed, client_context, server_context
from dicom_io.services.store_scp import StoreScp
from tests.conftest import require, wait_for
from tests.support.authority import Authority
from tests.support.floods import FLOODS, flood
from tests.support.peers import Recorder, running_scp, sender_to, small_limits
from tests.support.raw_peer import ACCEPTED, CLOSED, REJECTED, read_pdu, request, said, user_information

#: In how many seconds a C-ECHO with its association is answered while others flood us, ...
PROMPT_SECONDS = 1.0
#: ... or, on a machine that is slow already, how many times as long as before the flood it may take. Where the
#: connections of the flood went first, it took 200 times as long.
PROMPT_TIMES = 60


def echo_seconds(scp: StoreScp, address: str, times: int = 9) -> list[float]:
    """How long a new association with C-ECHO takes from `address`, each time. All are answered."""
    ae, taken = AE("OTHER"), []
    ae.add_requested_context(Verification)
    for _ in range(times):
        began = time.monotonic()
        assoc = ae.associate("127.0.0.1", scp.port, ae_title="HILUM", bind_address=(address, 0))
        assert assoc.is_established
        assert assoc.send_c_echo().Status == 0
        assoc.release()
        taken.append(time.monotonic() - began)
    return taken


def prompt_seconds(scp: StoreScp, address: str) -> float:
    """In how many seconds a C-ECHO from `address` has to be answered from now on. Nobody floods us yet."""
    return max(PROMPT_SECONDS, PROMPT_TIMES * statistics.median(echo_seconds(scp, address, 5)))


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_connections_starves_nobody(tmp_path: Path, name: str) -> None:
    """While one address opens connections as fast as it can, C-ECHO from another is answered within a second."""
    recorder, before = Recorder(), sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with running_scp(recorder, tmp_path) as scp:
            seconds = prompt_seconds(scp, "127.0.0.2")
            with flood(scp.port, FLOODS[name]):
                wait_for(lambda: recorder.kinds, 20, "the first event")
                taken = echo_seconds(scp, "127.0.0.2")
    finally:
        sys.setswitchinterval(before)
    assert statistics.median(taken) < seconds, taken
    assert max(taken) < 3 * seconds, taken
    assert {"too-many-connections", "too-many-associations-of-peer"} & set(recorder.kinds)


def test_addresses_take_turns() -> None:
    """Whoever comes after many connections of another address waits for one of them; too many of one give way."""
    queues, opened = AddressQueues(3), [socket.socket() for _ in range(6)]
    flooding, other, third = ("127.0.0.1", 1), ("127.0.0.2", 2), ("127.0.0.3", 3)
    assert [queues.add(each, flooding) for each in opened[:4]] == [None, None, None, opened[0]]
    assert queues.add(opened[4], other) is None
    assert queues.add(opened[5], third) is None
    taken = [queues.take(), queues.take(lambda address: address != "127.0.0.2"), queues.take(), queues.take()]
    assert taken == [(opened[1], flooding), (opened[5], third), (opened[4], other), (opened[2], flooding)]
    queues.close()
    assert queues.take() is None
    assert opened[3].fileno() == -1
    for each in opened:
        each.close()


def test_requests_of_one_address_are_read_one_at_a_time(tmp_path: Path) -> None:
    """While one is read, another of the same address waits, one of another address does not, and one that left ends."""
    with running_scp(Recorder(), tmp_path) as scp, contextlib.ExitStack() as kept:

        def connected(address: str) -> socket.socket:
            return kept.enter_context(socket.create_connection(("127.0.0.1", scp.port), 20, (address, 0)))

        first, second, other = connected("127.0.0.1"), connected("127.0.0.1"), connected("127.0.0.2")
        held = wait_for(lambda: [*scp._server._associations] if len(scp._server._associations) == 3 else [], 10)
        with next(each for each in held if each.remote_address == "127.0.0.1").turn:
            for each in (first, second, other):
                each.sendall(request())
            assert read_pdu(other)[0] == ACCEPTED
            wait_for(lambda: scp.open_associations == 3, 10, "all to be let in")
            assert select.select([first, second], [], [], 0.2)[0] == []
            next(each for each in held if each.dul.socket.socket.getpeername() == first.getsockname()).give_way()
        assert read_pdu(second)[0] == ACCEPTED
        assert read_pdu(first)[0] == CLOSED


def test_silent_connections_give_way_to_newer_ones(tmp_path: Path) -> None:
    """Even from the same address, two hundred connections that say nothing keep no C-ECHO out."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp, contextlib.ExitStack() as silent:
        seconds = prompt_seconds(scp, "127.0.0.1")
        connections = [silent.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5)) for _ in range(200)]
        taken = echo_seconds(scp, "127.0.0.1")
        assert statistics.median(taken) < seconds, taken
        assert read_pdu(connections[0])[0] == CLOSED
        wait_for(lambda: recorder.kinds.count("too-many-connections") >= 150, 10, "the events")
        assert said(scp.port, request())[0] == ACCEPTED


def test_open_associations_do_not_give_way(tmp_path: Path) -> None:
    """A peer that was let in keeps its association, however many connections come after it."""
    with running_scp(Recorder(), tmp_path) as scp, contextlib.ExitStack() as silent:
        sender = sender_to(scp)
        assert sender.echo().outcome == "ACCEPTED"
        association = sender._assoc
        for _ in range(200):
            silent.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
        assert sender.echo().outcome == "ACCEPTED"
        assert sender._assoc is association
        sender.close()


def test_silent_connections_give_way_during_the_handshake(tmp_path: Path) -> None:
    """With TLS, too: where the peer has sent nothing of its handshake."""
    require("openssl")
    authority = Authority(tmp_path / "ca")
    files, recorder = authority.issue("server"), Recorder()
    server, client = Renewed(server_context, files), Renewed(client_context, files)
    with running_scp(recorder, tmp_path, tls=server) as scp, contextlib.ExitStack() as silent:
        taken = [tls_echo_seconds(scp, client) for _ in range(5)]
        for _ in range(200):
            silent.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
        wait_for(lambda: recorder.kinds.count("too-many-connections") >= 150, 20, "the events")
        assert tls_echo_seconds(scp, client) < max(PROMPT_SECONDS, PROMPT_TIMES * statistics.median(taken))


def tls_echo_seconds(scp: StoreScp, client: Renewed) -> float:
    """As `echo_seconds`, once and with TLS."""
    sender = sender_to(scp, tls=client)
    began = time.monotonic()
    assert sender.echo().outcome == "ACCEPTED"
    taken = time.monotonic() - began
    sender.close()
    return taken


def test_many_associations_of_one_peer_leave_room(tmp_path: Path) -> None:
    """One AE title gets its share and no more; another, at the same address, is served at once."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp, contextlib.ExitStack() as kept:
        answers, seconds = [], prompt_seconds(scp, "127.0.0.1")
        for _ in range(40):
            peer = kept.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
            peer.sendall(request(calling=b"GREEDY"))
            answers.append(read_pdu(peer)[0])
        assert answers == [ACCEPTED] * 25 + [REJECTED] * 15
        assert statistics.median(echo_seconds(scp, "127.0.0.1")) < seconds
    assert set(recorder.kinds) == {"too-many-associations-of-peer"}
    assert {detail["calling_ae_title"] for _, detail in recorder.events} == {"GREEDY"}


def test_many_names_of_one_address_leave_room(tmp_path: Path) -> None:
    """An address that calls itself by a new AE title each time leaves a fifth of the places to the others."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp, contextlib.ExitStack() as kept:
        answers, seconds = [], prompt_seconds(scp, "127.0.0.2")
        for number in range(50):
            peer = kept.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
            peer.sendall(request(calling=b"NAME%d" % number))
            answers.append(read_pdu(peer)[0])
        assert answers == [ACCEPTED] * 40 + [REJECTED] * 10
        assert statistics.median(echo_seconds(scp, "127.0.0.2")) < seconds
    assert set(recorder.kinds) == {"too-many-associations-of-address"}


def drip(port: int, sent: bytes, seconds: float, at_once: int = 0) -> float:
    """Send `at_once` bytes, then one every 50 ms, until the connection is closed or `seconds` are over. How long it was
    open."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as peer, contextlib.suppress(OSError):
        peer.settimeout(0.05)
        peer.sendall(sent[:at_once])
        for byte in sent[at_once:]:
            peer.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if not peer.recv(1):
                    break
            if time.monotonic() - began > seconds:
                break
    return time.monotonic() - began


def test_a_request_that_drips_is_ended(tmp_path: Path) -> None:
    """An association request that comes a byte at a time has the same time as silence, and its sender is named."""
    recorder, whole = Recorder(), request(user=user_information(bytes(4) + bytes(1000)))
    with running_scp(recorder, tmp_path, limits=small_limits(association_seconds=3.0)) as scp:
        # the titles come at once: on a slow machine they would not be there after 3 s, and nobody could be named
        assert drip(scp.port, whole, 40.0, at_once=50) < 20.0
        wait_for(lambda: recorder.events, 20, "the event")
    kind, detail = recorder.events[0]
    assert (kind, detail["error"]) == ("protocol-violation", "no association request within 3 s")
    assert (detail["calling_ae_title"], detail["called_ae_title"]) == ("MODALITY", "HILUM")


def test_a_handshake_that_drips_is_ended(tmp_path: Path) -> None:
    """A TLS handshake that comes a byte at a time has the same time as silence."""
    require("openssl")
    recorder = Recorder()
    server = partial(server_context, Authority(tmp_path / "ca").issue("server"))
    with running_scp(recorder, tmp_path, tls=server, limits=small_limits(association_seconds=1.0)) as scp:
        assert drip(scp.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(1000), 40.0) < 20.0
        wait_for(lambda: recorder.kinds == ["tls-refused"], 20, "the event")


def test_a_small_installation_is_not_cut_short(tmp_path: Path) -> None:
    """Where all places are for one peer, it may have them all."""
    limits = Limits(max_associations=4, max_associations_per_peer=4)
    with running_scp(Recorder(), tmp_path, [Peer("GATEWAY", "")], limits) as scp, contextlib.ExitStack() as kept:
        for _ in range(4):
            peer = kept.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
            peer.sendall(request(calling=b"GATEWAY"))
            assert read_pdu(peer)[0] == ACCEPTED
