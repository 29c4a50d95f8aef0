"""What rules do with messages: against an oracle, and function by function."""

import math
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_rules import DEFINITION, MS, TOPICS, TYPE, Oracle, a_history, a_message, a_rule

from edge_case_recorder.triggering import Engine, RuleError, compile_rule, limits, steps
from edge_case_recorder.triggering.engine import check_types
from edge_case_recorder.triggering.parser import parse
from edge_case_recorder.triggering.tree import text_of

S = 1000 * MS


def engine(**rules):
    made = Engine({name: compile_rule(text) for name, text in rules.items()})
    for topic in made.topics:
        assert made.bind(topic, TYPE, DEFINITION) == {}
    return made


def play(subject, *events):
    """(milliseconds, topic, fields) or (milliseconds,) for a tick; when which rule fires."""
    fired = []
    for milliseconds, *rest in events:
        topic, fields = rest if rest else ('', {})
        found = subject.on_message(topic, SimpleNamespace(**fields), milliseconds * MS) \
            if topic else subject.on_tick(milliseconds * MS)
        fired += [milliseconds for _ in found]
    return fired


def xs(*values, topic='a', period=100):
    return [(number * period, topic, {'x': value}) for number, value in enumerate(values)]


def fired_by(text, history):
    subject = engine(rule=text)
    return [now_ns for now_ns, topic, message in history
            for _ in (subject.on_message(topic, message, now_ns) if topic
                      else subject.on_tick(now_ns))]


@given(st.randoms(use_true_random=False), st.integers(0, 60))
@settings(deadline=None, max_examples=300)
def test_a_rule_fires_when_the_oracle_says_so(random, length):
    tree = a_rule(random, depth=3)
    history = a_history(random, length)
    assert fired_by(text_of(tree), history) == Oracle(tree, history).fires()


@pytest.mark.parametrize('seed', range(20))
def test_many_rules_fire_when_the_oracle_says_so(seed):
    random, fires = Random(seed), 0
    for _ in range(20):
        tree, history = a_rule(random, depth=4), a_history(random, 80)
        wanted = Oracle(tree, history).fires()
        assert fired_by(text_of(tree), history) == wanted, text_of(tree)
        fires += len(wanted)
    assert fires > 20


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_rules_do_not_disturb_each_other(random):
    texts = {f'r{number}': text_of(a_rule(random, depth=2)) for number in range(4)}
    history = a_history(random, 30)

    def fired(subject):
        return [(now_ns, each.rule) for now_ns, topic, message in history
                for each in (subject.on_message(topic, message, now_ns) if topic
                             else subject.on_tick(now_ns))]
    together = fired(engine(**texts))
    alone = [one for name, text in texts.items() for one in fired(engine(**{name: text}))]
    assert sorted(together) == sorted(alone)


def state_of(value, seen):
    """How many things hang on an object, each once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, dict):
        return sum(state_of(each, seen) for each in value.values()) + len(value)
    if isinstance(value, list | tuple | set | frozenset):
        return sum(state_of(each, seen) for each in value) + len(value)
    return state_of(vars(value), seen) if hasattr(value, '__dict__') else 1


@pytest.mark.parametrize('seed', range(8))
def test_what_is_remembered_does_not_grow_with_what_comes(seed):
    random = Random(seed)
    subject = engine(rule=text_of(a_rule(random, depth=3)))
    bound = subject.held
    assert bound <= limits.MAX_HELD
    sizes = []
    for _ in range(4):
        for now_ns, topic, message in a_history(random, 400):
            if topic:
                subject.on_message(topic, message, now_ns)
            else:
                subject.on_tick(now_ns)
        steps_of_rule = subject._rules['rule'].steps
        assert all(len(step.past) <= limits.BUCKETS + 1 for step in steps_of_rule
                   if isinstance(step, steps.Delta))
        held = [sum(state_of(vars(step), set()) for step in rule.steps)
                for rule in subject._rules.values()]
        sizes.append(sum(held))
    # Windows fill up once; an entry is a pair of numbers.
    assert sizes[-1] <= 60 * len(subject._rules['rule'].steps) + 4 * bound


def test_it_fires_as_it_becomes_true_and_not_while_it_is():
    assert play(engine(rule='a.x > 1'), *xs(0, 2, 3, 0, 2)) == [100, 400]
    assert play(engine(rule='a.x > 1'), *xs(2, 3)) == [0]
    assert play(engine(rule='rising(a.x > 1)'), *xs(2, 3, 0, 2)) == [300]
    assert play(engine(rule='falling(a.x > 1)'), *xs(2, 3, 0, 2)) == [200]


def test_events_fire_each_time():
    assert play(engine(rule='changed(a.x)'), *xs(1, 2, 3, 3, 4)) == [100, 200, 400]
    assert play(engine(rule='changed(a.x) and a.x > 2'), *xs(1, 2, 3, 4)) == [200, 300]
    assert play(engine(rule='changed(a.x) or a.x > 2'), *xs(1, 2, 3, 4)) == [100, 200]


@pytest.mark.parametrize('rule', [
    'a.x > 1 and b.x > 1', 'not b.flag', 'a.x > b.x', 'b.x != 3', 'b.word == text(b.word)',
    'a.x / 0 > 1', 'a.x / 0 < 1', 'a.x / 0 != 1', 'age(b) > 1 ms', 'rate(b) < 5 Hz',
    'b.word in (\'x\', \'\')', 'contains(b.word, \'\')', 'for(not b.flag, 1 ms)',
    'a.values[7] != 1', 'a.x > 1 and a.values[7] != 1', 'delta(b.x, 1 s) < 9', 'is_nan(b.x)'])
def test_what_is_not_known_never_fires(rule):
    fields = {'x': 5.0, 'values': [1.0, 2.0], 'word': '', 'flag': False}
    events = [event for n in range(100) for event in ((n * 50, 'a', fields), (n * 50 + 20,))]
    assert play(engine(rule=rule), *events) == []


def test_what_is_not_known_does_not_keep_the_rest_from_deciding():
    assert play(engine(rule='a.x > 1 or b.x > 1'), *xs(2)) == [0]
    assert play(engine(rule='not (a.x > 1 and b.x > 1)'), *xs(0)) == [0]


def test_not_a_number_compares_as_unknown():
    for rule in ('a.x != 1', '1 != a.x', 'a.x < 1', 'not (a.x > 1)', 'a.x in (1, 2)'):
        assert play(engine(rule=rule), *xs(math.nan)) == []
    assert play(engine(rule='is_nan(a.x)'), *xs(0, math.nan)) == [100]
    assert play(engine(rule='changed(a.x)'), *xs(math.nan, math.nan, 1.0)) == [200]
    assert play(engine(rule='a.x > 1000'), *xs(math.inf)) == [0]


def test_for_counts_from_when_it_became_true_and_notices_by_ticks():
    rule = engine(rule='for(a.x > 1, 250 ms)')
    assert play(rule, (0, 'a', {'x': 2}), (100,), (200,), (249,), (250,), (300,)) == [250]
    again = engine(rule='for(a.x > 1, 250 ms)')
    assert play(again, (0, 'a', {'x': 2}), (200, 'a', {'x': 0}), (210, 'a', {'x': 2}),
                (300,), (459,), (460,)) == [460]


def test_within_joins_what_comes_one_after_the_other():
    rule = 'rising(a.x > 1) and within(changed(b.x), 1 s)'
    b = [(n, 'b', {'x': n}) for n in (0, 10)]
    assert play(engine(rule=rule), *b, (50, 'a', {'x': 0}), (1010, 'a', {'x': 2})) == [1010]
    assert play(engine(rule=rule), *b, (50, 'a', {'x': 0}), (1011, 'a', {'x': 2})) == []


def test_silence_and_slowness_are_noticed_by_ticks():
    rule = engine(rule='age(a) > 1 s')
    assert play(rule, (0, 'a', {}), (1000,), (1001,), (1100,), (1200, 'a', {}), (2300,)) == [
        1001, 2300]
    slow = engine(rule='rate(a, 1 s) < 5 Hz')
    steady = [(n * 100, 'a', {}) for n in range(40)]
    assert play(slow, *steady) == []
    # Two a second from here on: seen when less than five lie in the last whole sixteenths.
    fired = play(slow, *[(4000 + n * 100,) for n in range(12)])
    assert len(fired) == 1
    assert 4400 <= fired[0] <= 4700


def test_rate_is_not_known_before_its_window_is_over():
    events = [(n, 'a', {}) for n in range(0, 3000, 500)]
    assert play(engine(rule='rate(a, 2 s) < 5 Hz'), *events) == [2500]


def test_delta_is_against_the_value_so_long_ago():
    ramp = xs(*[n * 0.1 for n in range(60)], period=50)   # 2 a second
    assert play(engine(rule='delta(a.x, 1 s) > 1.8'), *ramp)[0] == pytest.approx(1000, abs=70)
    assert play(engine(rule='delta(a.x, 1 s) > 2.3'), *ramp) == []


def test_seen_is_always_known():
    assert play(engine(rule='for(a.x > 1, 2 s) and not seen(b)'), (0, 'a', {'x': 2}),
                (2000,)) == [2000]
    assert play(engine(rule='seen(b) and a.x > 1'), *xs(2), (50, 'b', {}), *xs(0, 3)[1:]) == [50]


@pytest.mark.parametrize(('rule', 'values', 'fires'), [
    ('min(a.values) < 0.3', [1.0, math.nan, 0.25], True),
    ('min(a.values) < 0.3', [math.nan], False),
    ('min(a.values) < 0.3', [], False),
    ('min(a.values[0:2]) < 0.3', [1.0, 2.0, 0.25], False),
    ('max(a.values) == 2', [1.0, 2.0], True),
    ('mean(a.values[1:]) == 3', [9.0, 2.0, 4.0], True),
    ('count(a.values < 0.5) >= 2', [0.1, math.nan, 0.2, math.inf], True),
    ('count(a.values > -1) == 0', [-3.0], True),
    ('length(a.values) == 3', [0.0] * 3, True),
    ('length(a.values[1:2]) == 1', [0.0] * 3, True),
    ('length(a.values[5:]) == 0', [0.0] * 3, True),
    ('min(a.values) < 1', [0.0] * (limits.MAX_ELEMENTS + 1), False),   # more than it may look at
    ('min(a.values[0:4096]) < 1', [0.0] * (limits.MAX_ELEMENTS + 1), True),
    ('a.values[2] == 7', [1.0, 2.0, 7.0], True),
    ('a.values[2] == 7', [1.0], False),
])
def test_arrays(rule, values, fires):
    assert bool(play(engine(rule=rule), (0, 'a', {'values': values}))) is fires


def test_arithmetic_has_kinds():
    assert play(engine(rule='age(a) * 2 + 1 s > 3 s'), (0, 'a', {}), (1000,), (1001,)) == [1001]
    assert play(engine(rule='age(a) / 100 ms > 9'), (0, 'a', {}), (900,), (901,)) == [901]
    assert play(engine(rule='a.x * 1 s > 2 s'), *xs(1, 3)) == [100]
    assert play(engine(rule='hypot(a.x, a.y) > 4.9 and abs(a.x) == 3 and max(a.x, a.y) == 4'),
                (0, 'a', {'x': -3.0, 'y': 4.0})) == [0]


def test_steps_back_in_time_count_as_no_time():
    rule = engine(rule='for(a.x > 1, 1 s) or rate(a, 100 ms) > 1000 Hz or delta(a.x, 1 s) > 9')
    assert play(rule, (9000, 'a', {'x': 2}), (100, 'a', {'x': 2}), (50,), (9999,), (10000,)) == [
        10000]


def test_an_outcome_says_what_was_read_and_how_long_it_was_quiet():
    subject = engine(near='count(a.values[0:3] < 0.5) > 0 and b.word == \'go\'')
    subject.on_message('b', SimpleNamespace(word='go'), 0)
    [first] = subject.on_message('a', SimpleNamespace(values=[0.25]), S)
    assert (first.rule, first.topic, first.quiet_ns) == ('near', 'a', None)
    assert first.values == {'count(a.values[:3] < 0.5)': '1', 'b.word': 'go'}
    subject.on_message('a', SimpleNamespace(values=[0.25]), 2 * S)
    subject.on_message('a', SimpleNamespace(values=[1.0]), 3 * S)
    [second] = subject.on_message('a', SimpleNamespace(values=[0.25]), 5 * S)
    assert second.quiet_ns == 2 * S


def status(name, level=b'\x02', message='', **values):
    return SimpleNamespace(name=name, level=level, message=message, values=[
        SimpleNamespace(key=key, value=value) for key, value in values.items()])


@pytest.mark.parametrize(('rule', 'value', 'fires'), [
    ('d.arm.temperature > 60', '61.5', True), ('d.arm.temperature > 60', '6.2e1', True),
    ('d.arm.temperature > 60', 'hot', False), ('d.arm.temperature != 60', '1_0', False),
    ('d.arm.temperature != 60', '٦', False), ('d.arm.temperature != 60', ' 61', False),
    ('d.arm.temperature != 60', 'nan', False), ('d.arm.temperature', 'true', True),
    ('not d.arm.temperature', 'False', True), ('not d.arm.temperature', 'maybe', False),
    ("d.arm.temperature == 'hot'", 'hot', True), ('d.arm.level >= 2', '', True),
    ("d.arm.message == 'overheated'", '', True), ("d.leg.temperature == 'hot'", 'hot', False),
    ("d.arm.pressure == 'hot'", 'hot', False)])
def test_statuses_are_read_by_name(rule, value, fires):
    subject = Engine({'rule': compile_rule(rule)})
    assert subject.bind('d', 'diagnostic_msgs/msg/DiagnosticArray', '') == {}
    message = SimpleNamespace(status=[status('other'), status(
        'arm', message='overheated', temperature=value)])
    assert bool(subject.on_message('d', message, 0)) is fires


def test_joints_are_read_by_name():
    subject = Engine({'rule': compile_rule('abs(joint_states.velocity.elbow) > 2')})
    subject.bind('joint_states', 'sensor_msgs/msg/JointState', 'string[] name\nfloat64[] velocity')
    for names, velocity, fires in ((['elbow'], [1.0], False), (['wrist', 'elbow'], [9, -3], True),
                                   (['wrist', 'elbow'], [9], False), (['wrist'], [9], False)):
        message = SimpleNamespace(name=names, velocity=velocity)
        assert bool(subject.on_message('joint_states', message, 0)) is fires, names


@pytest.mark.parametrize(('rule', 'told'), [
    ('a.z > 1', "has no field 'z'; it has x, y, flag, word, values, parts"),
    ('a.word > 1', 'is a text, and is used as a number'),
    ('a.flag > 1', 'is a bool, and is used as a number'),
    ("a.x == 'fast'", 'is a number, and is used as a text'),
    ('a.x', 'is a number, and is used as a bool'),
    ('a.values > 1', 'is an array'),
    ('a.parts > 1', 'is an array'),
    ('a.parts[0] > 1', 'is a test_msgs/Inner: name one of its fields: count'),
    ('a.parts.count > 1', 'name an element'),
    ('a.x[0] > 1', 'not an array'),
    ('a.x.y > 1', "a float64 has no field 'y'"),
    ('min(a.x) > 1', 'not an array'),
    ('min(a.parts) > 1', 'not an array of numbers')])
def test_a_rule_that_does_not_fit_the_type_stands_still_and_says_why(rule, told):
    subject = Engine({'wrong': compile_rule(rule), 'right': compile_rule('a.x > 1')})
    broken = subject.bind('a', TYPE, DEFINITION)
    assert list(broken) == list(subject.broken) == ['wrong']
    assert told in broken['wrong'].sentence
    assert [each.rule for each in subject.on_message('a', SimpleNamespace(
        x=2.0, values=[2.0], parts=[], flag=True, word='w'), 0)] == ['right']
    with pytest.raises(RuleError):
        check_types(compile_rule(rule), 'a', TYPE, DEFINITION)


def test_a_topic_may_change_its_type():
    subject = Engine({'rule': compile_rule('a.level > 1')})
    assert 'rule' in subject.bind('a', TYPE, DEFINITION)
    assert subject.on_message('a', SimpleNamespace(level=3), 0) == []
    assert subject.bind('a', 'test_msgs/msg/Tank', 'float32 level 0.0\nint32 FULL=9') == {}
    assert subject.broken == {}
    assert len(subject.on_message('a', SimpleNamespace(level=3), 0)) == 1


def test_a_fixed_array_has_an_end():
    for rule, fits in (('a.c[35] > 1', True), ('a.c[36] > 1', False), ('min(a.c[36:]) > 1', False)):
        found = Engine({'rule': compile_rule(rule)}).bind('a', TYPE, 'float64[36] c')
        assert (found == {}) is fits


def test_before_its_type_is_known_a_topic_has_arrivals_and_no_fields():
    subject = Engine({'field': compile_rule('a.x > 1'), 'age': compile_rule('age(a) > 1 s')})
    assert subject.on_message('a', SimpleNamespace(x=2), 0) == []
    assert [each.rule for each in subject.on_tick(2 * S)] == ['age']


def test_a_message_of_another_shape_is_unknown_and_counted():
    subject = engine(rule='a.x > 1 or a.values[0] > 1')
    assert subject.on_message('a', SimpleNamespace(y=1), 0) == []
    assert subject.unreadable == {'a': 2}
    assert len(subject.on_message('a', SimpleNamespace(x=2, values=[]), 0)) == 1


def test_topics_that_no_rule_reads_cost_nothing():
    subject = engine(rule='a.x > 1')
    assert subject.topics == {'a': ('a.x',)}
    assert subject.on_message('b', SimpleNamespace(x=2), 0) == []
    assert set(TOPICS) > set(subject.topics)


def test_texts_are_cut_to_what_a_rule_may_hold():
    subject = engine(rule="a.word == 'x' or changed(a.word)")
    subject.on_message('a', SimpleNamespace(word='y' * 10_000), 0)
    assert subject.on_message('a', SimpleNamespace(word='y' * 300 + 'z'), 0) == []


@given(st.randoms(use_true_random=False))
def test_rules_read_only_what_their_topics_have(random):
    tree = a_rule(random, depth=2)
    program = compile_rule(text_of(tree))
    message = a_message(random)
    subject = Engine({'rule': program})
    for topic, fields in program.fields.items():
        subject.bind(topic, TYPE, DEFINITION)
        for field in fields:
            assert parse(f'seen({field})').arguments[0].topic == topic
            name = field.removeprefix(f'{topic}.').split('[')[0].split('.')[0]
            assert hasattr(message, name)


def test_an_absurd_definition_has_no_such_field():
    broken = Engine({'rule': compile_rule('a.c[0] > 1')}).bind(
        'a', TYPE, f'float64[{"9" * 10_000}] c')
    assert 'has no field' in broken['rule'].sentence
