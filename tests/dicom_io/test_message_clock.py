"""The clock of an association tells how long the peer may still take, and which limit it exceeded."""

from dicom_io.network.message_clock import LONGEST_WAIT, MessageClock


class Time:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_between_messages_only_the_idle_time_counts() -> None:
    """A peer may be silent for the idle time, counted from its last byte."""
    time = Time()
    clock = MessageClock(10.0, 60.0, time)
    time.seconds += 50
    assert (clock.seconds_left(), clock.exceeded()) == (10.0, "")
    clock.restart_idle_time()
    time.seconds += 60
    assert (clock.seconds_left(), clock.exceeded()) == (0.0, "silent for 60 s")


def test_the_time_of_a_message_runs_from_its_first_byte() -> None:
    """A peer that sends a little at a time is never silent, and is late all the same."""
    time = Time()
    clock = MessageClock(10.0, 60.0, time)
    for _ in range(10):
        clock.begin_message()
        clock.restart_idle_time()
        assert clock.in_message
        assert clock.exceeded() == ""
        time.seconds += 1
    assert (clock.seconds_left(), clock.exceeded()) == (0.0, "a message took more than 10 s")


def test_each_message_has_the_whole_time() -> None:
    """The time begins anew with the next message."""
    time = Time()
    clock = MessageClock(10.0, None, time)
    clock.begin_message()
    time.seconds += 9
    clock.end_message()
    assert not clock.in_message
    clock.begin_message()
    assert clock.seconds_left() == 10.0


def test_without_limits_nothing_is_exceeded() -> None:
    """An association that we requested has no idle time; a wait has an end all the same."""
    time = Time()
    clock = MessageClock(monotonic=time)
    time.seconds += 1_000_000
    assert (clock.seconds_left(), clock.exceeded()) == (LONGEST_WAIT, "")
