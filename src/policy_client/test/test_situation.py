"""What the reflex's status means to the policy."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from policy_client.situation import FREE, safety_pace, safety_state


def said(**values):
    return DiagnosticArray(status=[DiagnosticStatus(name='robot/safety_reflex', values=[
        KeyValue(key=key, value=value) for key, value in values.items()])])


@pytest.mark.parametrize(('values', 'state', 'free'), [
    ({'state': 'RUNNING'}, 'RUNNING', True),
    ({'state': 'SLOWED', 'command_source': 'policy/cmd_vel'}, 'SLOWED', True),
    ({'state': 'LATCHED', 'command_source': ''}, 'LATCHED', False),
    ({'state': 'RUNNING', 'command_source': 'teleop/cmd_vel'}, 'in the hands of teleop/cmd_vel',
     False),
    ({'state': 'RUNNING', 'command_source': ''}, 'waiting for neutral', False),
    ({}, '', False),
])
def test_the_policy_is_free_only_where_the_reflex_hears_it(values, state, free):
    assert safety_state(said(**values)) == state
    assert (safety_state(said(**values)) in FREE) == free


def test_other_people_s_diagnostics_say_nothing():
    assert safety_state(DiagnosticArray(status=[DiagnosticStatus(name='camera')])) == ''


@pytest.mark.parametrize(('values', 'pace'), [
    ({'pace': '0.30'}, 0.3), ({'pace': '1.00'}, 1.0), ({}, 1.0), ({'pace': 'nan'}, 1.0),
    ({'pace': '-1.0'}, 1.0), ({'pace': '1.90'}, 1.0), ({'pace': ''}, 1.0)])
def test_how_fast_the_reflex_lets_an_arm_be(values, pace):
    assert safety_pace(said(state='SLOWED', **values)) == pace
