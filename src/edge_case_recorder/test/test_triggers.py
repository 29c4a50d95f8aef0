"""What makes a case, and what does not."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_case_recorder.rules import default_rules
from edge_case_recorder.triggers import LaterReasons, Rule, Trigger, Triggers

S = 1_000_000_000


def triggers(**rules):
    return Triggers(default_rules(5.0, 2.0) | rules)


def safety(state, reasons='', **more):
    return 'safety_reflex', {'state': state, 'reasons': reasons, **more}


def policy(source, rejected=0, **more):
    return 'policy_client', {'source': source, 'rejected_chunks': str(rejected), **more}


def play(subject, *statuses, step_ns=S // 10):
    """Every status in turn, a tenth of a second apart: what came of each."""
    return [subject.on_status(*status, now_ns=number * step_ns)
            for number, status in enumerate(statuses)]


def causes(outcomes):
    return [each.cause for outcome in outcomes for each in outcome if isinstance(each, Trigger)]


def test_a_person_makes_exactly_one_case_with_the_reflex_reason():
    outcomes = play(
        triggers(), safety('STARTING'), safety('LATCHED', 'start_up'),
        safety('LATCHED', 'start_up,awaiting_neutral'), safety('RUNNING'),
        safety('SLOWED', 'warning_field'), safety('STOPPED', 'warning_field,protective_field'),
        safety('STOPPED', 'warning_field,protective_field'),
        safety('STOPPED', 'warning_field,protective_field,command_stale'),
        safety('STOPPED', 'warning_field'), safety('SLOWED', 'warning_field'), safety('RUNNING'))
    assert causes(outcomes) == ['protective_field']
    case = outcomes[5][0]
    assert case.rule == 'safety_stop'
    assert case.reasons == ('warning_field', 'protective_field')
    assert (case.before_ns, case.after_ns) == (5 * S, 2 * S)
    assert outcomes[7] == [LaterReasons('safety_reflex', ('command_stale',))]


def test_a_rogue_command_stops_and_then_latches_as_one_case():
    outcomes = play(triggers(), safety('RUNNING'), safety('STOPPED', 'command_not_finite'),
                    safety('LATCHED', 'command_not_finite'), safety('LATCHED', 'awaiting_neutral'),
                    safety('RUNNING'))
    assert causes(outcomes) == ['command_not_finite']


def test_an_emergency_stop_while_a_person_is_there_is_a_case_of_its_own():
    outcomes = play(triggers(), safety('RUNNING'), safety('STOPPED', 'protective_field'),
                    safety('LATCHED', 'protective_field,estop'))
    assert causes(outcomes) == ['protective_field', 'estop']
    assert outcomes[2][0].rule == 'safety_latch'


def test_what_was_there_before_anyone_listened_is_no_case():
    assert causes(play(triggers(), safety('STOPPED', 'protective_field'))) == []
    assert causes(play(triggers(), safety('LATCHED', 'estop'), safety('LATCHED', 'estop'))) == []
    assert causes(play(triggers(), safety('STARTING'), safety('LATCHED', 'start_up,estop'))) == []


def test_a_second_stop_is_seen_although_the_drive_between_was_not():
    outcomes = play(triggers(), safety('RUNNING', trip_count='0'),
                    safety('STOPPED', 'protective_field', trip_count='1'),
                    safety('STOPPED', 'protective_field', trip_count='2'),
                    safety('LATCHED', 'estop', trip_count='3'),
                    safety('STOPPED', 'protective_field', trip_count='3'))
    assert causes(outcomes) == ['protective_field', 'protective_field', 'estop',
                                'protective_field']


def test_a_stop_without_a_reason_is_a_case_too():
    assert causes(play(triggers(), safety('RUNNING'), safety('STOPPED'))) == ['stopped']


def test_the_fallback_takes_the_lead():
    outcomes = play(
        triggers(), policy('hold'), policy('onnx'), policy('triton:desk'), policy('onnx'),
        policy('hold'), policy('onnx'), policy('triton:desk'), policy('hold'),
        policy('triton:desk'), step_ns=10 * S)
    assert causes(outcomes) == ['policy_fallback']
    outcomes = play(triggers(), policy('triton:desk'), policy('hold'), policy('onnx'))
    assert causes(outcomes) == ['policy_fallback']   # held at rest in between


def test_refused_chunks_make_one_case_in_a_while_and_say_why():
    subject = triggers()
    burst = [policy('triton:desk', count, reject_reason='not_finite') for count in range(50)]
    outcomes = play(subject, *burst)
    assert causes(outcomes) == ['policy_rejected']
    assert outcomes[1][0].reasons == ('policy_rejected', 'not_finite')
    assert subject.suppressed['policy_rejected'] == 48
    assert causes([subject.on_status(*policy('triton:desk', 60), now_ns=20 * S)]) == [
        'policy_rejected']


def test_a_client_that_starts_anew_counts_from_zero_and_makes_no_case():
    assert causes(play(triggers(), policy('onnx', 7), policy('onnx', 0))) == []


def test_intervals_are_counted_per_cause():
    subject = triggers(safety_stop=Rule(S, S, 60 * S, 80))
    outcomes = play(subject, safety('RUNNING'), safety('STOPPED', 'protective_field'),
                    safety('RUNNING'), safety('STOPPED', 'scan_lost'), safety('RUNNING'),
                    safety('STOPPED', 'protective_field'))
    assert causes(outcomes) == ['protective_field', 'scan_lost']


def test_a_mark_is_a_case_and_a_rule_can_be_off():
    assert causes([triggers().on_mark(0)]) == ['operator_mark']
    assert triggers(operator_mark=Rule(S, S, 0, 70, enabled=False)).on_mark(0) == []


def test_a_strange_reason_cannot_reach_a_file_name():
    outcomes = play(triggers(), safety('RUNNING'), safety('STOPPED', '../../etc/passwd, OK'))
    assert causes(outcomes) == ['unknown']


@given(st.lists(st.tuples(
    st.sampled_from(['safety_reflex', 'policy_client', 'other']),
    st.dictionaries(st.sampled_from(['state', 'reasons', 'trip_count', 'source',
                                     'rejected_chunks', 'reject_reason']),
                    st.one_of(st.text(max_size=30),
                              st.sampled_from(['STOPPED', 'LATCHED', 'RUNNING', '3', 'onnx'])))),
    max_size=30))
def test_no_status_can_break_the_triggers(statuses):
    for outcome in play(triggers(), *statuses):
        for each in outcome:
            assert all(reason.replace('_', '').isalnum() for reason in each.reasons)


@given(st.lists(st.sampled_from(['RUNNING', 'SLOWED', 'STOPPED', 'LATCHED', 'STARTING']),
                max_size=40))
def test_as_many_cases_as_times_the_robot_came_to_stand(states):
    outcomes = play(triggers(), *(safety(state, '' if state in ('RUNNING', 'SLOWED') else 'x')
                                  for state in states))
    stops = sum((new in ('STOPPED', 'LATCHED') and old in ('RUNNING', 'SLOWED'))
                or (old, new) == ('LATCHED', 'STOPPED')
                for old, new in itertools.pairwise(states))
    assert len(causes(outcomes)) == stops
