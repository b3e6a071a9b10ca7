"""Deadlines, breakers and the guard around a remote tier, with a clock of our own."""

import signal
import threading
import time

import pytest

from morph_kernels.cache.background import in_background
from morph_kernels.cache.breaker import Breaker
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline, call_within
from morph_kernels.cache.tier import GuardedTier, iter_shares
from morph_kernels.reasons import Reason
from tests.support.hostile_host import join_background


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_deadline_counts_down_and_never_below_nothing(clock):
    deadline = Deadline(2.0, clock=clock)
    assert (deadline.remaining_s, deadline.expired) == (2.0, False)
    clock.now += 1.5
    assert deadline.remaining_s == 0.5
    clock.now += 5
    assert (deadline.remaining_s, deadline.expired) == (0.0, True)


def test_a_part_of_a_deadline_is_of_what_is_left_and_leaves_the_whole_as_it_is(clock):
    deadline = Deadline(2.0, clock=clock)
    clock.now += 1
    part = deadline.part(0.5)
    assert (part.remaining_s, deadline.remaining_s) == (0.5, 1.0)
    clock.now += 0.75
    assert (part.expired, deadline.expired) == (True, False)


def test_a_call_returns_what_the_work_returns_or_raises():
    assert call_within(Deadline(5), lambda: "answer") == "answer"
    assert call_within(Deadline(5), lambda: None) is None
    raised = call_within(Deadline(5), lambda: 1 / 0)
    assert isinstance(raised.error, ZeroDivisionError)


def test_an_exception_of_the_waiting_thread_is_its_own():
    # A scheduler's signal handler raises in the thread that waits: no client library did.
    class PreemptedError(Exception):
        pass

    def preempt(*_):
        raise PreemptedError

    hang, before = threading.Event(), signal.signal(signal.SIGALRM, preempt)
    server = Server()
    server.find_bundle = lambda *_, **__: hang.wait()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(PreemptedError):
            ask(GuardedTier(server))
    finally:
        signal.signal(signal.SIGALRM, before)
        hang.set()


@pytest.mark.timed
def test_a_call_that_does_not_return_costs_the_deadline_and_no_more():
    hang = threading.Event()
    started = time.monotonic()
    assert call_within(Deadline(0.05), hang.wait) is Reason.DEADLINE
    assert time.monotonic() - started < 0.3
    hang.set()


def test_work_is_not_begun_when_there_is_no_time_for_it():
    begun = []
    assert call_within(Deadline(0), lambda: begun.append(1)) is Reason.DEADLINE
    assert begun == []


def test_a_breaker_opens_at_the_limit_and_lets_one_caller_try_after_its_rest(clock):
    breaker = Breaker(failures=3, rest_s=5, clock=clock)
    for _ in range(3):
        assert breaker.admit()
        breaker.failed()
    assert (breaker.is_open, breaker.admit()) == (True, False)
    clock.now += 5
    assert [breaker.admit(), breaker.admit()] == [True, False]
    breaker.failed()
    clock.now += 4.9
    assert not breaker.admit()
    clock.now += 0.1
    assert breaker.admit()
    breaker.succeeded()
    assert not breaker.is_open
    assert all(breaker.admit() for _ in range(10))


def test_a_breaker_whose_one_caller_never_came_back_lets_another_try(clock):
    breaker = Breaker(failures=1, rest_s=5, clock=clock)
    breaker.failed()
    clock.now += 5
    assert breaker.admit()
    clock.now += 5
    assert breaker.admit()


def test_one_success_forgets_earlier_failures(clock):
    breaker = Breaker(failures=2, clock=clock)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert breaker.admit()


class Server:
    """A tier that is what a test says: a value to answer with, or an exception to raise."""

    name = "server"

    def __init__(self):
        self.answer = b"data"
        self.asked = 0

    def find_bundle(self, digest, *, max_bytes):  # noqa: ARG002 - the protocol's
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def interrupt(self):
        self.interrupted = True


def ask(tier, seconds=5.0):
    return tier.ask(lambda server: server.find_bundle("a" * 64, max_bytes=10), Deadline(seconds))


def test_a_guarded_tier_never_raises_and_counts_what_happened(clock):
    server = Server()
    tier = GuardedTier(server, breaker=Breaker(failures=2, rest_s=5, clock=clock))
    assert ask(tier) == b"data"
    server.answer = None
    assert ask(tier) is None
    server.answer = ConnectionError("refused")
    assert [ask(tier) for _ in range(3)] == [Reason.UNAVAILABLE, Reason.UNAVAILABLE, Reason.BREAKER_OPEN]
    assert tier.counts.snapshot() == {
        "hit": 1,
        "bytes": 4,
        "miss": 1,
        "error:ConnectionError": 2,
        "unavailable": 2,
        "breaker_open": 1,
    }
    server.answer = b"back"
    clock.now += 5
    assert ask(tier) == b"back"


def test_a_tier_that_was_not_asked_for_want_of_time_is_not_held_to_blame(clock):
    server = Server()
    tier = GuardedTier(server, breaker=Breaker(failures=1, rest_s=5, clock=clock))
    assert [ask(tier, 0) for _ in range(5)] == [Reason.DEADLINE] * 5
    assert (server.asked, tier.breaker.is_open) == (0, False)
    # Nor does it use up the one try of a tier that rests.
    tier.breaker.failed()
    clock.now += 5
    ask(tier, 0)
    assert ask(tier) == b"data"


def test_a_question_that_is_late_is_interrupted_and_no_more_than_a_few_are_under_way():
    hang, server = threading.Event(), Server()
    tier = GuardedTier(server, breaker=Breaker(failures=1000))
    server.find_bundle = lambda *_, **__: hang.wait()
    answers = [ask(tier, 0.001) for _ in range(40)]
    under_way = [thread for thread in threading.enumerate() if thread.name == "morph-tier"]
    hang.set()
    assert len(under_way) == 32
    assert set(answers) <= {Reason.DEADLINE, Reason.UNAVAILABLE}
    assert tier.counts.snapshot()["error:TooManyQuestionsError"] >= 1
    join_background()
    assert server.interrupted


def test_each_tier_has_half_of_what_is_left_and_the_last_one_all(clock):
    tiers = [GuardedTier(Server()) for _ in range(3)]
    shares = []
    for _, share in iter_shares(tiers, Deadline(8, clock=clock)):
        shares.append(share.remaining_s)
        clock.now += share.remaining_s
    assert shares == [4.0, 2.0, 2.0]


def test_counts_lose_nothing_between_threads_and_can_be_read_meanwhile():
    counts = Counts()

    def add():
        for number in range(2000):
            counts.add(f"key{number % 50}")
            counts.snapshot()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts.snapshot().total() == 8000


def test_background_work_runs_on_a_thread_that_nobody_waits_for():
    done = threading.Event()
    thread = in_background(done.set)
    assert thread.daemon
    assert done.wait(5)
