"""A few thousand walks over states, commanders and gate; and every reachable state."""

from dataclasses import replace
from pathlib import Path

import pytest
import state_table
import walk_states
from state_table import CAUSES

from safety_reflex.reasons import Effect, effect
from safety_reflex.states import State, StateMachine

PAGE = Path(__file__).resolve().parents[1] / 'src/safety_reflex/docs/states.md'
FREE = {State.RUNNING, State.SLOWED}


def test_walks_break_no_rule_and_come_everywhere():
    counts = walk_states.walk(seed=7, sequences=3000)
    assert counts['sequences that moved'] > 1000
    for arrow in ('STARTING -> LATCHED', 'LATCHED -> RUNNING', 'RUNNING -> SLOWED',
                  'RUNNING -> STOPPED', 'RUNNING -> LATCHED', 'STOPPED -> RUNNING',
                  'STOPPED -> LATCHED', 'SLOWED -> RUNNING'):
        assert counts[arrow] > 0, arrow


class Restless(StateMachine):
    """Resets without waiting for neutral commands."""

    def update(self, now_ns, active, *, sources_fresh, neutral):
        return super().update(now_ns, active, sources_fresh=sources_fresh, neutral=True)


class Forgetful(StateMachine):
    """Forgets a latch when its cause is gone."""

    def update(self, now_ns, active, *, sources_fresh, neutral):
        done = super().update(now_ns, active, sources_fresh=sources_fresh, neutral=neutral)
        if self.state is State.LATCHED and not active and self.trip_count:
            self.state = State.STOPPED
        return done


class Hasty(StateMachine):
    """Lets a stop that comes with the end of a reset wait for the next update."""

    def update(self, now_ns, active, *, sources_fresh, neutral):
        done = super().update(now_ns, set(), sources_fresh=sources_fresh, neutral=neutral)
        if not done:
            super().update(now_ns, active, sources_fresh=sources_fresh, neutral=neutral)
        return done


@pytest.mark.parametrize('wrong', [Restless, Forgetful, Hasty])
def test_a_wrong_machine_breaks_a_rule(monkeypatch, wrong):
    monkeypatch.setattr(walk_states, 'StateMachine', wrong)
    with pytest.raises(walk_states.RuleBroken):
        walk_states.walk(seed=7, sequences=3000)


def test_commands_that_outlive_a_reset_break_a_rule(monkeypatch):
    monkeypatch.setattr(walk_states.Arbiter, 'accept_only_after', lambda *_: None)
    with pytest.raises(walk_states.RuleBroken, match='stamped before the reset'):
        walk_states.walk(seed=7, sequences=3000)


@pytest.fixture(scope='module')
def reached():
    return state_table.walk()


def test_every_state_is_reached(reached):
    assert {state for state, _ in reached} == set(State)


def test_in_no_reachable_state_does_a_stop_lose(reached):
    for here, ends in reached.items():
        for event, after in ends.items():
            cause = max(map(effect, CAUSES[event[0]]), default=Effect.NONE)
            if len(event) == 4 and cause >= Effect.STOP:
                assert not FREE & {state for state, _ in after}, (here, event)


def test_motion_begins_only_behind_neutral_commands_or_a_clear_field(reached):
    behind = {here for here, ends in reached.items() if here[0] not in FREE
              for after in ends.values() if FREE & {state for state, _ in after}}
    assert behind == {(State.LATCHED, 'reset, neutral timer'), (State.STOPPED, 'clear timer')}
    for event, after in reached[State.LATCHED, 'reset, neutral timer'].items():
        if FREE & {state for state, _ in after}:
            assert len(event) == 4
            assert event[1]


def test_a_reset_is_only_asked_and_never_moves_anything(reached):
    for here, ends in reached.items():
        for event, after in ends.items():
            if len(event) == 1:
                assert {state for state, _ in after} == {here[0]}


def test_with_latch_on_field_an_object_before_a_moving_robot_latches():
    reached = state_table.walk(replace(state_table.LIMITS, field_latches=True))
    for here, ends in reached.items():
        for event, after in ends.items():
            if here[0] in FREE and event[0] == 'object' and len(event) == 4:
                assert {state for state, _ in after} == {State.LATCHED}
    assert (State.STOPPED, 'held') in reached   # bad data still stops first


def test_the_page_is_what_the_walk_finds():
    assert state_table.markdown() in PAGE.read_text(), (
        f'{PAGE} is out of date: paste the output of python tests/walk_states.py --table')
