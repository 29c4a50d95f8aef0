from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policy_client.routing import Router, RouterSettings

MS = 1_000_000
SETTINGS = RouterSettings(failures_to_open=2, probes_to_close=3)


def proven(*names, now_ns=0):
    router = Router(names, SETTINGS)
    for _ in range(3):
        for name in names:
            router.succeeded(name, now_ns, probe=True)
    return router


def test_a_route_proves_itself_before_it_leads():
    router = Router(['cloud', 'onnx'], SETTINGS)
    assert router.lead() is None
    assert router.due(0) == ['cloud', 'onnx']
    assert router.due(0) == []  # each is busy with its probe
    router.succeeded('cloud', 0, probe=True)
    assert router.due(249 * MS) == []
    assert router.due(250 * MS) == ['cloud']
    router.succeeded('cloud', 250 * MS, probe=True)
    assert router.lead() is None
    router.succeeded('cloud', 500 * MS, probe=True)
    assert router.lead() == 'cloud'


def test_failures_in_a_row_give_the_lead_away_and_good_probes_bring_it_back():
    router = proven('cloud', 'onnx')
    router.failed('cloud', 0, 'deadline')
    assert (router.lead(), router.after('cloud')) == ('cloud', 'onnx')
    router.succeeded('cloud', 0)
    router.failed('cloud', 0, 'deadline')
    assert router.lead() == 'cloud'  # not in a row
    router.failed('cloud', 0, 'deadline')
    assert router.lead() == 'onnx'
    assert router.error('cloud') == 'deadline'
    now = 0
    for good in (True, True, False, True, True):
        now += 2000 * MS
        assert router.due(now) == ['cloud']
        if good:
            router.succeeded('cloud', now, probe=True)
        else:
            router.failed('cloud', now, 'deadline', probe=True)
        assert router.lead() == 'onnx'
    assert router.due(now + 250 * MS) == ['cloud']
    router.succeeded('cloud', now + 250 * MS, probe=True)
    assert router.lead() == 'cloud'


def test_a_final_failure_opens_at_once():
    router = proven('cloud', 'onnx')
    router.failed('cloud', 0, 'unreachable', final=True)
    assert router.lead() == 'onnx'


def test_a_late_good_reply_is_no_proof():
    router = Router(['cloud'], SETTINGS)
    for _ in range(10):
        router.succeeded('cloud', 0)
    assert router.lead() is None


def test_a_bad_route_is_asked_less_and_less_often():
    router = Router(['cloud'], SETTINGS)
    asked = []
    for ms in range(0, 10_000, 10):
        if router.due(ms * MS):
            asked.append(ms)
            router.failed('cloud', ms * MS, 'unreachable', probe=True)
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps == [250, 500, 1000, 2000, 2000, 2000, 2000]


@pytest.mark.parametrize('names', [[], ['a', 'a']])
def test_names_must_be_distinct(names):
    with pytest.raises(ValueError, match='distinct names'):
        Router(names, SETTINGS)


class AnyWeather(RuleBasedStateMachine):
    """Replies and probes in any order: the lead is always the best route that has earned it."""

    names = ('a', 'b', 'c')

    @initialize()
    def start(self):
        self.router = Router(self.names, SETTINGS)
        self.now = 0
        self.failures = dict.fromkeys(self.names, 0)
        self.good = dict.fromkeys(self.names, 0)
        self.closed = dict.fromkeys(self.names, False)
        self.busy = set()

    @rule(ms=st.integers(0, 3000))
    def wait(self, ms):
        self.now += ms * MS
        due = self.router.due(self.now)
        assert not self.busy & set(due)
        assert not any(self.closed[name] for name in due)
        self.busy |= set(due)

    @rule(name=st.sampled_from(names), good=st.booleans(), final=st.booleans())
    def lead_replies(self, name, good, final):
        if good:
            self.router.succeeded(name, self.now)
            if self.closed[name]:
                self.failures[name] = 0
            return
        self.router.failed(name, self.now, 'x', final=final)
        self.good[name] = 0
        if self.closed[name]:
            self.failures[name] += 1
            self.closed[name] = not final and self.failures[name] < 2

    @rule(name=st.sampled_from(names), good=st.booleans())
    def probe_replies(self, name, good):
        if name not in self.busy:
            return
        self.busy.discard(name)
        if not good:
            self.router.failed(name, self.now, 'x', probe=True)
            self.good[name] = 0
            return
        self.router.succeeded(name, self.now, probe=True)
        self.good[name] += 1
        if self.good[name] == 3:
            self.closed[name], self.failures[name], self.good[name] = True, 0, 0

    @invariant()
    def the_best_closed_route_leads(self):
        if hasattr(self, 'router'):
            closed = [name for name in self.names if self.closed[name]]
            assert self.router.lead() == (closed[0] if closed else None)
            for name in self.names:
                behind = [n for n in closed if n > name]
                assert self.router.after(name) == (behind[0] if behind else None)


AnyWeather.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyWeather = AnyWeather.TestCase


def test_a_route_that_fails_every_other_time_does_not_keep_the_lead():
    router = Router(['a', 'b'], RouterSettings())
    for name in ('a', 'b'):
        for _ in range(3):
            router.due(10**12)
            router.succeeded(name, 0, probe=True)
    assert router.lead() == 'a'
    for number in range(8):
        (router.failed('a', 0, 'deadline') if number % 2 else router.succeeded('a', 0))
    assert router.lead() == 'b'
