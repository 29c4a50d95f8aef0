"""The state machine: properties over random events, and each arrow by hand."""

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from safety_reflex.reasons import NEVER_LATCHES_WITH_TIME, Effect, Reason, effect
from safety_reflex.states import State, StateLimits, StateMachine

SECOND = 1_000_000_000
LIMITS = StateLimits(clear_ns=2 * SECOND, bad_data_latch_ns=SECOND // 2, neutral_ns=SECOND // 5,
                     reset_expires_ns=5 * SECOND)


class Driver:
    """A machine with a clock: holds conditions and lets time pass in 20 ms steps."""

    def __init__(self):
        self.machine, self.now_ns = StateMachine(LIMITS), 0

    def hold(self, seconds, *active, fresh=True, neutral=False):
        for _ in range(round(seconds * 50)):
            self.now_ns += SECOND // 50
            self.machine.update(self.now_ns, set(active), sources_fresh=fresh, neutral=neutral)
        return self.machine.state

    def run(self):
        self.hold(0.1)
        self.machine.request_reset(self.now_ns, set())
        assert self.hold(0.3, neutral=True) is State.RUNNING
        return self


def test_it_starts_latched_and_only_when_every_source_is_fresh():
    driver = Driver()
    assert driver.hold(1, fresh=False) is State.STARTING
    assert driver.hold(0.1) is State.LATCHED
    assert driver.hold(60, neutral=True) is State.LATCHED
    assert driver.machine.reasons(set()) == [Reason.START_UP]


def test_a_reset_needs_neutral_for_long_enough():
    driver = Driver()
    driver.hold(0.1)
    assert driver.machine.request_reset(driver.now_ns, set())[0]
    assert driver.hold(1.0, neutral=False) is State.LATCHED
    assert Reason.AWAITING_NEUTRAL in driver.machine.reasons(set())
    assert driver.hold(0.1, neutral=True) is State.LATCHED
    assert driver.hold(0.02, neutral=False) is State.LATCHED
    assert driver.hold(0.18, neutral=True) is State.LATCHED
    assert driver.hold(0.1, neutral=True) is State.RUNNING


def test_a_reset_expires_and_is_refused_while_a_cause_holds():
    driver = Driver()
    driver.hold(0.1)
    driver.machine.request_reset(driver.now_ns, set())
    driver.hold(5.1)
    assert driver.hold(1.0, neutral=True) is State.LATCHED
    granted, sentence = driver.machine.request_reset(driver.now_ns, {Reason.ESTOP})
    assert not granted
    assert 'estop' in sentence


def test_a_person_stops_it_and_it_resumes_two_seconds_after_the_field_is_clear():
    driver = Driver().run()
    assert driver.hold(600, Reason.PROTECTIVE_FIELD) is State.STOPPED
    assert driver.hold(1.9) is State.STOPPED
    assert driver.hold(0.02, Reason.PROTECTIVE_FIELD) is State.STOPPED
    assert driver.hold(1.98) is State.STOPPED
    assert driver.hold(0.1) is State.RUNNING
    assert driver.machine.trip_count == 1


def test_slow_down_comes_and_goes():
    driver = Driver().run()
    assert driver.hold(0.1, Reason.WARNING_FIELD) is State.SLOWED
    assert driver.hold(0.02) is State.RUNNING


@pytest.mark.parametrize('reason', [r for r in Reason if effect(r) is Effect.STOP
                                    and r not in NEVER_LATCHES_WITH_TIME])
def test_bad_data_stops_at_once_and_latches_when_it_lasts(reason):
    driver = Driver().run()
    assert driver.hold(0.4, reason) is State.STOPPED
    assert driver.hold(0.2, reason) is State.LATCHED
    assert driver.hold(60, neutral=True) is State.LATCHED
    assert driver.machine.reasons(set()) == [reason]


class Storm(RuleBasedStateMachine):
    """Any order of events: it moves only after a whole reset, and a stop wins every tie."""

    def __init__(self):
        super().__init__()
        self.machine, self.now_ns = StateMachine(LIMITS), 0
        self.active = set()
        self.granted = False
        self.was = State.STARTING

    @rule(active=st.sets(st.sampled_from([r for r in Reason if r not in (
              Reason.START_UP, Reason.AWAITING_NEUTRAL)]), max_size=2),
          step_ms=st.integers(1, 3000), fresh=st.booleans(), neutral=st.booleans())
    def pass_time(self, active, step_ms, fresh, neutral):
        self.now_ns += step_ms * 1_000_000
        self.active = active
        completed = self.machine.update(self.now_ns, active, sources_fresh=fresh, neutral=neutral)
        if self.machine.state is State.LATCHED and not completed:
            strongest = max(map(effect, active), default=Effect.NONE)
            self.granted = self.granted and strongest < Effect.STOP

    @rule(neutral=st.integers(5, 20))
    def calm(self, neutral):
        for _ in range(neutral):
            self.now_ns += 30_000_000
            self.machine.update(self.now_ns, set(), sources_fresh=True, neutral=True)
        self.active = set()

    @rule()
    def reset(self):
        granted, _ = self.machine.request_reset(self.now_ns, self.active)
        self.granted = self.granted or granted

    @invariant()
    def nothing_moves_against_a_cause(self):
        strongest = max(map(effect, self.active), default=Effect.NONE)
        if strongest >= Effect.STOP and self.now_ns:
            assert not self.machine.may_move

    @invariant()
    def a_latch_only_ends_by_a_granted_reset(self):
        state = self.machine.state
        if self.was in (State.STARTING, State.LATCHED) and state not in (
                State.STARTING, State.LATCHED):
            assert self.granted
        if state is not State.LATCHED:
            self.granted = False
        self.was = state


TestStorm = Storm.TestCase
# SPINAL_LONG=1: a million steps.
TestStorm.settings = settings(max_examples=25_000 if os.environ.get('SPINAL_LONG') else 60,
                              stateful_step_count=40, deadline=None)


def test_bad_data_that_changes_its_kind_latches_all_the_same():
    driver = Driver().run()
    for _ in range(15):
        driver.hold(0.02, Reason.SCAN_INVALID)
        driver.hold(0.02, Reason.ODOM_MALFORMED)
    assert driver.machine.state is State.LATCHED
