"""A request has one reply, and has it in time whatever its worker does."""

import threading
import time

import numpy as np
import pytest

from policy_client.policies.base import Failure, Request
from policy_client.policies.deadlines import Deadlines, Pending

MS = 1_000_000
NEVER_MS = 60_000


@pytest.fixture
def deadlines():
    deadlines = Deadlines()
    yield deadlines
    deadlines.close()


def pending(timeout_ms=NEVER_MS, request_id='r'):
    return Pending(Request(request_id, {}, timeout_ms * MS))


def test_the_first_answer_counts(deadlines):
    first, second = pending(), pending()
    first.succeed({'action.x': np.zeros(1)}, '7')
    first.fail(Failure.UNREACHABLE, 'too late')
    second.fail(Failure.UNREACHABLE, 'gone')
    second.succeed({}, '7')
    assert (first.future.result().failure, first.future.result().version) == (None, '7')
    assert second.future.result().failure is Failure.UNREACHABLE
    assert second.future.result().detail == 'gone'


def test_a_caller_that_gave_its_future_up_disturbs_nobody(deadlines):
    call = pending(5)
    assert call.future.cancel()
    deadlines.watch(call)
    other = pending(10)
    deadlines.watch(other)
    assert other.future.result(10.0).failure is Failure.DEADLINE
    call.succeed({}, '1')


def test_a_success_after_the_deadline_brings_no_actions():
    call = pending(0)
    call.succeed({'action.x': np.zeros(1)}, '1')
    assert call.future.result().failure is Failure.DEADLINE
    assert not call.future.result().actions


def test_without_an_answer_there_is_a_reply_in_the_order_of_the_deadlines(deadlines):
    settled, calls = [], {name: pending(timeout_ms, name) for name, timeout_ms in (
        ('never', NEVER_MS), ('late', 90), ('soon', 30), ('middle', 60))}
    for call in calls.values():
        call.future.add_done_callback(lambda each: settled.append(each.result().request_id))
        deadlines.watch(call)
    assert calls['late'].future.result(10.0).failure is Failure.DEADLINE
    assert settled == ['soon', 'middle', 'late']
    assert not calls['never'].future.done()


def test_close_cancels_what_waits_and_ends_the_thread():
    before = set(threading.enumerate())
    deadlines = Deadlines()
    call = pending()
    deadlines.watch(call)
    assert set(threading.enumerate()) - before
    deadlines.close()
    assert call.future.result(10.0).failure is Failure.CANCELLED
    limit = time.monotonic() + 10.0
    while set(threading.enumerate()) - before:
        assert time.monotonic() < limit
        time.sleep(0.01)
