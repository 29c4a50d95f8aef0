"""Rules in files, and what `Triggers` makes of them."""

import datetime
import math
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_case_recorder.rules import RulesError, apply, default_rules, parse_rules, read_rules
from edge_case_recorder.triggering import limits
from edge_case_recorder.triggers import RULES, Rule, Trigger, Triggers

S = 1_000_000_000
TYPE, DEFINITION = 'test_msgs/msg/Thing', 'float64 x'
NOON_2026_12_31 = int(datetime.datetime(2026, 12, 31, 12, tzinfo=datetime.UTC).timestamp()) * S


def rules_of(text, **builtin):
    rules = parse_rules(f'schema_version: 1\n{text}', default_rules(5.0, 2.0), 'triggers.yaml')
    return rules | builtin


def running(entry):
    """Triggers with one rule of its own on `a.x`."""
    subject = Triggers(rules_of(f'triggers:\n  own: {entry}'))
    assert subject.bind('a', TYPE, DEFINITION) == {}
    return subject


def fired(subject, *values, period_ms=100):
    return [number * period_ms for number, value in enumerate(values)
            for each in subject.on_message('a', SimpleNamespace(x=value),
                                           number * period_ms * 1_000_000)
            if isinstance(each, Trigger)]


def test_a_rule_of_ones_own_makes_a_case():
    subject = Triggers(rules_of('''
triggers:
  fast:
    when: a.x > 1
    before_s: 3
    after_s: 0.5
    priority: 99
    merge: true
    campaign: {name: winter-26, expires: 2026-12-31T12:00:00Z}
'''))
    subject.bind('a', TYPE, DEFINITION)
    [case] = subject.on_message('a', SimpleNamespace(x=2.5), 7 * S)
    assert case == Trigger('fast', 'a', 'fast', ('fast',), 7 * S, 3 * S, S // 2, 99,
                           {'campaign': 'winter-26', 'a.x': '2.5'}, True)


def test_what_is_left_out_has_a_default():
    rule = rules_of('triggers: {own: {when: a.x > 1}}')['own']
    assert rule == Rule(5 * S, 2 * S, 10 * S, 40, when=rule.when)
    assert rule.when.source == 'a.x > 1'


def test_debounce_waits_until_it_has_been_quiet():
    chatter = (2, 0, 2, 0, 2, 0, 0, 0, 0, 2)
    assert fired(running('{when: a.x > 1, min_interval_s: 0}'), *chatter) == [0, 200, 400, 900]
    subject = running('{when: a.x > 1, min_interval_s: 0, debounce_s: 0.3}')
    assert fired(subject, *chatter) == [0, 900]
    assert subject.suppressed['own'] == 2


def test_debounce_counts_events_as_well():
    assert fired(running('{when: changed(a.x), min_interval_s: 0, debounce_s: 0.25}'),
                 1, 2, 3, 4, 4, 4, 5) == [100, 600]


def test_an_interval_lies_between_two_cases():
    subject = running('{when: a.x > 1, min_interval_s: 0.5}')
    assert fired(subject, 2, 0, 2, 0, 2, 0, 2) == [0, 600]
    assert subject.suppressed['own'] == 2


def test_a_campaign_ends_and_a_clock_that_is_set_back_begins_it_again():
    subject = running('{when: changed(a.x), min_interval_s: 0, campaign: {name: w, '
                      'expires: 2026-12-31T12:00:00Z}}')
    outcomes = []
    for number, utc_ns in enumerate([0, NOON_2026_12_31 - 1, NOON_2026_12_31, 0]):
        subject.on_tick(number * S, utc_ns)
        assert subject.expired == ({'own'} if utc_ns == NOON_2026_12_31 else set())
        outcomes.append(bool(subject.on_message('a', SimpleNamespace(x=number), number * S)))
    assert outcomes == [False, True, False, True]


def test_a_rule_that_is_off_is_not_read_for():
    assert 'a' not in running('{when: a.x > 1, enabled: false}').needed


def status(name, **values):
    return SimpleNamespace(status=[SimpleNamespace(name=name, level=b'\0', message='', values=[
        SimpleNamespace(key=key, value=value) for key, value in values.items()])])


DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'


def policy(subject, *staleness, period_ms=100):
    subject.bind('policy/status', DIAGNOSTICS, '')
    return [(number * period_ms, each.rule) for number, value in enumerate(staleness)
            for each in subject.on_message('policy/status', status(
                'policy_client', source='triton:desk', rejected_chunks='0',
                staleness_ms=str(value)), number * period_ms * 1_000_000)]


def test_a_policy_that_drives_by_an_old_chunk_is_a_case():
    subject = Triggers(default_rules(5.0, 2.0))
    assert policy(subject, *[150] * 5, *[600] * 20, *[150] * 5, *[700] * 20) == [
        (1000, 'high_staleness')]   # the second within ten seconds of the first
    assert policy(Triggers(default_rules(5.0, 2.0)), *[600, 600, 150] * 20) == []


def test_built_in_rules_take_the_same_messages_as_ones_own():
    subject = Triggers(rules_of('''
triggers:
  stood: {when: safety/state.safety_reflex.state == 'STOPPED', min_interval_s: 0}'''))
    subject.bind('safety/state', DIAGNOSTICS, '')
    found = [each for number, state in enumerate(['RUNNING', 'STOPPED', 'STOPPED', 'RUNNING'])
             for each in subject.on_message('safety/state', status(
                 'safety_reflex', state=state, reasons='protective_field'), number * S)]
    assert [(each.rule, each.cause) for each in found] == [
        ('safety_stop', 'protective_field'), ('stood', 'stood')]


def test_a_topic_of_another_type_makes_no_stop():
    subject = Triggers(default_rules(5.0, 2.0))
    subject.bind('safety/state', 'std_msgs/msg/String', 'string data')
    for number in range(3):
        assert subject.on_message('safety/state', SimpleNamespace(data='STOPPED'), number) == []


def test_what_is_needed_is_known_before_anything_comes():
    needed = Triggers(rules_of('''
triggers:
  own: {when: 'age(odom) > 1 s and count(scan.ranges < 1) > 2'}''')).needed
    assert needed['odom'] == ()
    assert needed['scan'] == ('scan.ranges',)
    assert needed['policy/status'] == (
        'policy/status.policy_client.staleness_ms', 'policy/status.policy_client.source',
        'policy/status.policy_client.rejected_chunks', 'policy/status.policy_client.reject_reason')
    assert 'safety/state.safety_reflex.trip_count' in needed['safety/state']
    quiet = {name: Rule(0, 0, 0, 0, enabled=False) for name in RULES}
    assert Triggers(quiet).needed == {}


def test_a_rule_that_does_not_fit_its_topic_stands_still_alone():
    subject = Triggers(rules_of('triggers: {own: {when: a.y > 1}, other: {when: a.x > 1}}'))
    assert 'has no field' in subject.bind('a', TYPE, DEFINITION)['own'].sentence
    assert list(subject.broken) == ['own']
    assert [each.rule for each in subject.on_message('a', SimpleNamespace(x=2), 0)] == ['other']


@pytest.mark.parametrize(('text', 'told'), [
    ('triggers:\n  own:\n    enabled: true\n    when: a.x >\n', r'triggers\.yaml:5: own: when, '
     r'line 1, column 6: .*not the end\n  a\.x >\n       \^'),
    ('triggers:\n  own: {when: rasing(a.f)}', "did you mean 'rising'"),
    ('triggers:\n  own: {priority: 3}', "'when' is a required property .a rule of one's own"),
    ('triggers:\n  own: {when: a.x > 1, prioritty: 3}', 'prioritty'),
    ('triggers:\n  own: {when: a.x > 1, debounce_s: 601}', r'own\.debounce_s: 601'),
    ('triggers:\n  Own: {when: a.x > 1}', "a rule's name has 1 to 48"),
    ('triggers:\n  safety_stop: {when: a.x > 1}', 'written in Python'),
    ('triggers:\n  safety_stop: {debounce_s: 1}', 'debounce_s'),
    ('triggers:\n  own: {when: 3}', "3 is not of type 'string'"),
    ('triggers:\n  own: {when: a.x > 1, campaign: {name: x}}', "'expires' is a required"),
    ('triggers:\n  own: {when: a.x > 1, campaign: {name: x, expires: 2026-12-31}}', 'expires'),
    ('triggers:\n  own: {when: a.x > 1, campaign: {name: x, expires: 2026-13-31T00:00:00Z}}',
     'no date and time'),
    ('triggers:\n  own: {when: policy/status.state == 1}', 'is a DiagnosticArray'),
    ('types: {scan: sensor_msgs/msg/LaserScan}\ntriggers:\n  own: {when: scan.range_min == true}',
     'is a number, and is used as a bool'),
    ('types: {scan: sensor_msgs/msg/LaserScan}\ntriggers:\n  own:\n    when: scan.rangs[3] > 1',
     "has no field 'rangs'; it has header"),
    ('types: {scan: sensor_msgs/msg/LaserScan}\ntriggers: {}', "types: no rule reads 'scan'"),
    ('types: {a: acme_msgs/msg/Rocket}\ntriggers:\n  own: {when: a.x > 1}',
     r'types\.a: acme_msgs/msg/Rocket'),
    ('types: {a: Rocket}\ntriggers:\n  own: {when: a.x > 1}', r'types\.a'),
    ('triggers: {' + ', '.join(f'r{n}: {{when: a.x > 1}}' for n in range(65)) + '}',
     'at most 64 are taken'),
    ('triggers: {' + ', '.join(f"r{n}: {{when: '{' or '.join(f'a{n}_{i}.x' for i in range(20))}'}}"
                               for n in range(4)) + '}', 'read 81 topics'),
    ('triggers: *nothing', 'not YAML'),
    ('triggers: !!python/name:os.system {}', 'not YAML'),
    ('[' * 5000, 'nested too deeply|not YAML'),
    ('? [1]\n: 2', 'not YAML'),
])
def test_a_wrong_file_is_one_clear_sentence_with_its_place(text, told):
    with pytest.raises(RulesError, match=told):
        rules_of(text)


def test_the_rule_of_a_file_is_the_rule_of_its_text(tmp_path):
    text = 'schema_version: 1\ntriggers:\n  own: {when: a.x > 1}\n'
    (tmp_path / 'triggers.yaml').write_text(text)
    assert read_rules(tmp_path / 'triggers.yaml', 1.0, 1.0) == apply(
        yaml.safe_load(text), default_rules(1.0, 1.0), 'x')
    (tmp_path / 'triggers.yaml').write_bytes(b'\xff')
    with pytest.raises(RulesError, match='not YAML'):
        read_rules(tmp_path / 'triggers.yaml', 1.0, 1.0)


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
    | st.sampled_from(['a.x > 1', 'sensor_msgs/msg/LaserScan', '2026-12-31T00:00:00Z']),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(
        ['schema_version', 'types', 'triggers', 'own', 'safety_stop', 'when', 'campaign', 'name',
         'expires', 'enabled', 'before_s', 'priority', 'merge', 'a']), inside, max_size=4),
    max_leaves=12))
def test_no_document_breaks_the_reader(document):
    whole = {'schema_version': 1, **document} if isinstance(document, dict) else document
    error = None
    try:
        rules = apply(whole, default_rules(5.0, 2.0), 'x')
        assert set(rules) >= set(RULES)
    except RulesError as caught:
        error = caught
    assert error is None or str(error).startswith('x')


def test_limits_are_what_the_schema_says():
    rules_of('triggers: {own: {when: "' + 'a.f or ' * 100 + ' ' * 1200 + 'a.f"}}')
    with pytest.raises(RulesError, match='too long'):
        rules_of('triggers: {own: {when: "a.f' + ' ' * limits.MAX_CHARACTERS + '"}}')
    assert math.isclose(limits.MAX_TIME_NS / S, 600)
