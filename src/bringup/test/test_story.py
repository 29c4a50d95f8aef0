"""The story and its verdict: what was not seen did not happen."""

import pytest

from bringup.demo.director import Log, person_stops
from bringup.demo.story import Outcome, Phase, Seen, Teller, phases
from bringup.demo.summary import fallback_seconds, percentiles, summarise
from isaac_bridge.oracle import Contact

TWO = [Phase('first', lambda _, now: now.state == 'RUNNING', 2.0, 'reset'),
       Phase('second', lambda begin, now: now.person_stops > begin.person_stops, 5.0)]


def test_actions_come_once_and_phases_in_order():
    teller = Teller(TWO)
    assert teller.look(Seen(0.0)) == 'reset'
    assert teller.look(Seen(1.0)) is None
    assert teller.look(Seen(1.5, state='RUNNING', person_stops=3)) is None
    assert not teller.finished
    teller.look(Seen(3.0, person_stops=4))
    assert teller.finished
    assert [(o.name, o.ok, o.seconds) for o in teller.outcomes] == [
        ('first', True, 1.5), ('second', True, 1.5)]


def test_a_phase_that_is_not_seen_in_time_ends_the_story():
    teller = Teller(TWO)
    teller.look(Seen(0.0))
    teller.look(Seen(2.1, state='LATCHED', reasons=frozenset({'estop'})))
    assert teller.finished
    assert teller.failed
    assert 'LATCHED (estop)' in teller.outcomes[0].note


def test_every_action_of_the_story_has_a_name_of_its_own_kind():
    assert len({phase.name for phase in phases()}) == len(phases())
    assert all(phase.limit_s > 0 for phase in phases())


def good_log():
    log = Log()
    log.truth = [{'robot': [24.0, 0.0, 0.0, 0.0, 0.0], 'people': [], 'clearance_m': 1.0,
                  'contact': -1, 'camera': True}]
    log.states = [(0.0, 'RUNNING', '', '0.90'), (1.0, 'STOPPED', 'protective_field', '0.90'),
                  (1.1, 'STOPPED', 'protective_field', '0.10'), (4.0, 'RUNNING', '', '0.10'),
                  (5.0, 'STOPPED', 'scan_lost', '0.10')]
    log.sources = [(0.0, 'hold'), (1.0, 'onnx'), (2.0, 'triton:a'), (3.0, 'onnx'), (5.0, 'onnx'),
                   (6.0, 'triton:a')]
    return log


GOOD_CASE = {'id': 'a', 'crc32c_ok': True}
OUTCOMES = [Outcome('one', True, 1.0)]
TOUCH = {'t_ns': 0, 'person': 0, 'speed_mps': 0.5, 'avoidable': True, 'sighted_ns': 0,
         'rest_ns': 0}


def verdict(log=None, outcomes=OUTCOMES, planned=1, contacts=(), cases=(GOOD_CASE,)):
    return summarise(log or good_log(), outcomes, planned, contacts, (24.0, 0.0), cases, [],
                     'Triton', {})


def test_a_good_run_is_ok():
    summary = verdict()
    assert summary['ok']
    assert summary['person_stops'] == 1
    assert summary['contacts'] == 0


def never_stopped():
    log = good_log()
    log.states = []
    return log


def never_arrived():
    log = good_log()
    log.truth[0]['robot'][0] = 20.0
    return log


@pytest.mark.parametrize('change', [
    {'outcomes': [Outcome('one', False, 1.0)]}, {'planned': 2}, {'cases': ()},
    {'cases': (GOOD_CASE, {'id': 'b', 'crc32c_ok': False})},
    {'contacts': (Contact(moving=True, **TOUCH),)},
    {'log': never_stopped()}, {'log': never_arrived()}, {'log': Log()},
])
def test_ok_is_computed_and_never_assumed(change):
    assert not verdict(**change)['ok']


def test_a_person_who_walks_into_a_resting_robot_is_counted_apart():
    summary = verdict(contacts=(Contact(moving=False, **TOUCH),))
    assert summary['ok']
    assert (summary['contacts'], summary['contacts_resting']) == (0, 1)


def test_percentiles_are_null_where_values_are_too_few():
    assert percentiles([]) == {'p50': None, 'p99': None, 'max': None, 'n': 0}
    assert percentiles(range(100))['p99'] is None
    assert percentiles(range(1000))['p99'] == pytest.approx(989.0, abs=0.1)


def test_the_fallback_counts_from_when_triton_led_first():
    assert fallback_seconds(good_log()) == pytest.approx(3.0)
    assert person_stops(good_log()) == [1.0]


def test_a_stop_counts_once_and_whatever_else_it_began_with():
    log = Log()
    log.states = [(0.0, 'RUNNING', '', ''), (1.0, 'STOPPED', 'scan_lost', ''),
                  (1.1, 'STOPPED', 'scan_lost,protective_field', ''), (1.2, 'STOPPED', '', ''),
                  (1.3, 'STOPPED', 'protective_field', ''), (4.0, 'RUNNING', '', ''),
                  (5.0, 'STOPPED', 'protective_field', ''), (6.0, 'STOPPED', 'scan_lost', '')]
    assert person_stops(log) == [1.1, 5.0]
