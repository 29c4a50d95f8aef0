"""No stale, duplicate or foreign chunk ever runs, and nothing broken reaches the output.

SPINAL_LONG=1 delivers a million replies instead of some thousands, in a few minutes.
"""

import os
from collections import Counter

import numpy as np
import pytest
from deliveries import HIGH, HOLD, HORIZON, LOW, ROUTES, Chaos
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_client import pilot
from policy_client.chunks import ActionQueue
from policy_client.motion import State
from policy_client.reply import FAULTS

LONG = bool(os.environ.get('SPINAL_LONG'))
DELIVERIES = 1_000_000 if LONG else 20_000
EACH = 5_000 if LONG else 1_000


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_nothing_runs_that_may_not_whatever_comes(seed):
    Chaos(seed).run(300)


def test_a_long_row_of_deliveries_meets_all_that_it_is_about():
    """Each world checks all of its output; one in which nothing ran would prove nothing."""
    seen = Counter()
    for seed in range(DELIVERIES // EACH):
        seen += Chaos(seed).run(EACH)
    print(dict(sorted(seen.items())))
    assert seen['steps'] > DELIVERIES / 3
    for route in ROUTES:
        assert seen[f'chunk of {route}'] > 0
        assert seen[f'steps of {route}'] > DELIVERIES / 100
    for outcome in ('epoch', 'stale', 'deadline', 'unreachable', *FAULTS):
        assert seen[f'reply {outcome}'] > 0, outcome
    for event in ('stops', 'restarts', 'hedges', 'chunk of a hedge', 'cancelled'):
        assert seen[event] > 0, event


def believe(actions, embodiment, horizon, tolerance):
    return np.tile((LOW + HIGH) / 2, (HORIZON, 1))


def same_epoch(queue):
    queue._lead_with(None)


def of_any_age(queue, chunk, now_ns):
    return queue._offset(chunk, now_ns) < queue._length(chunk)


def jump(queue, wanted, dt_s):
    queue._last = State(wanted.value, wanted.rate, wanted.rate2)


@pytest.mark.parametrize(('place', 'name', 'fault', 'words'), [
    (pilot, 'checked', believe, 'no chunk|other rows'),
    (ActionQueue, 'drop', same_epoch, 'in a stop|before a stop'),
    (ActionQueue, '_may_run', of_any_age, 'ms old'),
    (ActionQueue, '_follow', jump, 'beyond|in 0'),
], ids=['content', 'epoch', 'age', 'rate'])
def test_a_client_with_a_fault_is_found_out(monkeypatch, place, name, fault, words):
    """The check itself: each of these clients does one thing that it must not."""
    monkeypatch.setattr(place, name, fault)

    def campaign():
        for seed in range(20):
            Chaos(seed).run(1000)

    with pytest.raises(AssertionError, match=words):
        campaign()


def test_holding_is_what_is_left_when_nobody_answers():
    """The same world with servers that never say anything good."""
    world = Chaos(3)
    world._mood = dict.fromkeys(ROUTES, 0.0)
    world._rare = lambda: None
    seen = world.run(2000)
    assert {name for name in seen if name.startswith('chunk of')} <= {
        f'chunk of {HOLD}', 'chunk of a hedge'}
