"""The language as written: what is a rule, and where what is none goes wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making_rules import EVENTS, a_rule, every_node

from edge_case_recorder.triggering import RuleError, compile_rule, limits
from edge_case_recorder.triggering.functions import FUNCTIONS
from edge_case_recorder.triggering.parser import parse
from edge_case_recorder.triggering.tree import Binary, Call, Logic, Number, Path, Span, text_of


def error_of(text):
    try:
        compile_rule(text)
    except RuleError as error:
        return error
    return None


@given(st.randoms(use_true_random=False))
def test_a_tree_is_its_text_and_compiles(random):
    tree = a_rule(random, depth=3)
    text = text_of(tree)
    assert parse(text) == tree
    program = compile_rule(text)
    assert set(program.topics) == {node.topic for node in every_node(tree)
                                   if isinstance(node, Path)}
    assert len(program.factories) <= program.cost <= limits.MAX_COST


@given(st.randoms(use_true_random=False), st.integers(0, 400), st.text(max_size=3))
def test_a_damaged_rule_is_a_rule_or_says_where_it_is_not(random, at, noise):
    text = text_of(a_rule(random, depth=3))
    damaged = text[:at] + noise + text[at + random.randrange(3):]
    error = error_of(damaged)
    if error is None:
        assert parse(text_of(parse(damaged))) == parse(damaged)
        return
    lines = damaged.split('\n')
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    assert '\n' not in error.sentence


@given(st.text())
def test_no_text_breaks_the_parser(text):
    error = error_of(text)
    assert error is None or error.sentence


def test_precedence_is_that_of_python():
    assert parse('a.x + 2 * b.x > 1 and not b.flag or c.flag') == Logic('or', (
        Logic('and', (parse('(a.x + (2 * b.x)) > 1'), parse('not (b.flag)'))), parse('c.flag')))
    assert parse('-a.x * 2') == parse('(-a.x) * 2')
    assert parse('a.x - 1 - 2') == parse('(a.x - 1) - 2')


def test_a_slash_divides_behind_an_operand_and_names_before_one():
    divided = parse('odom.x/2 > /scan.y').left
    assert divided == Binary('/', Path('odom', ('x',)), Number(2.0))
    assert parse('/scan.y > 1').left == Path('/scan', ('y',))
    assert parse('policy/status.a.b > 1').left == Path('policy/status', ('a', 'b'))


def test_names_with_blanks_are_quoted_and_parts_are_pythons():
    assert parse("diagnostics.'left motor'.\"it's hot\"").steps == ('left motor', "it's hot")
    assert [parse(f'a.v{part}').steps[1] for part in ('[3]', '[:]', '[2:]', '[:9]', '[2:9]')] == [
        3, Span(), Span(2), Span(0, 9), Span(2, 9)]


def test_blanks_lines_and_remarks_mean_nothing():
    assert parse('a.x>1 and b.flag') == parse(
        '\n a.x   > 1  # fast\n\tand   # as well\n b.flag\n')


@pytest.mark.parametrize(('rule', 'line', 'column', 'told'), [
    ('', 1, 1, 'not the end'),
    ('a.x > 1 and', 1, 12, 'not the end'),
    ('a.x >\n  1 and $', 2, 9, "'$' means nothing"),
    ('a.x = 1', 1, 5, "did you mean '=='"),
    ('a.flag && b.flag', 1, 8, "did you mean 'and'"),
    ('raising(a.flag)', 1, 1, "did you mean 'rising'"),
    ('a.flag and frobnicate(b.x)', 1, 12, 'there are rising, falling'),
    ('scan > 1', 1, 1, 'is a topic'),
    ('a.x > 1 s', 1, 1, 'duration is needed'),
    ('age(a) > 1', 1, 10, 'as in 2 s'),
    ('rate(a) < 5 s', 1, 11, 'a frequency is needed'),
    ('a.x < 3 seconds', 1, 9, 'not a unit'),
    ('a.x < 3and a.y', 1, 8, 'a blank is missing'),
    ('a.x == b.y', 1, 5, 'neither side'),
    ("a.word < 'b'", 1, 8, 'has no order'),
    ("a.x + 'b' > 1", 1, 7, 'cannot be calculated with'),
    ('age(a) * age(b) > 1 s', 1, 8, 'means nothing'),
    ('not changed(a.x)', 1, 5, 'within'),
    ('for(rising(a.flag), 2 s)', 1, 5, 'within'),
    ('rising(changed(a.x))', 1, 8, 'within'),
    ('changed(a.x) == true', 1, 14, 'event'),
    ('for(a.flag)', 1, 1, 'is written for('),
    ('for(a.flag, a.x)', 1, 13, 'takes a time'),
    ('for(a.flag, 0 s)', 1, 13, 'lies from'),
    ('for(a.flag, 11 min)', 1, 13, 'lies from'),
    ('rate(a.x) > 1 Hz', 1, 6, 'takes a topic'),
    ('delta(a.x + 1, 1 s) > 1', 1, 11, 'takes a field'),
    ('a.values[1:3] > 1', 1, 1, 'array function only'),
    ('min(a.values[3:3]) > 1', 1, 13, 'empty'),
    ('a.values[70000] > 1', 1, 9, 'at most 65535'),
    ('a.values[-1] > 1', 1, 9, 'an index is'),
    ('a..x > 1', 1, 3, 'name must stand behind the dot'),
    ('a._x > 1', 1, 3, 'name must stand behind the dot'),
    ('a__b.x > 1', 1, 1, 'not the name of a topic'),
    ("'a b'.x > 1", 1, 1, 'not the name of a topic'),
    ('a.__class__ > 1', 1, 3, 'name must stand behind the dot'),
    ('count(a.x) > 1', 1, 7, 'count takes a comparison'),
    ('count(a.v < b.x) > 1', 1, 13, 'plain number'),
    ("a.word in ('x', 3)", 1, 8, 'of one kind'),
    ('a.word in (b.x)', 1, 12, 'texts or numbers only'),
    ("a.word == 'x", 1, 11, 'does not end'),
    (r"a.word == '\q'", 1, 12, 'not an escape'),
    ('1 < a.x < 3', 1, 9, 'cannot be chained'),
    ('1 < 2', 1, 3, 'at least one topic'),
    ('a.x > 1e19', 1, 7, 'larger than'),
    ('a.x > 1e999', 1, 7, 'larger than'),
    ('a.x > 1.2.3', 1, 7, 'not a number'),
    ('a.x > ٣', 1, 7, 'means nothing'),
    ('(a.flag', 1, 8, "')' was expected"),
    ('a.flag b.flag', 1, 8, 'an operator was expected'),
    ('a.flag)', 1, 7, 'the end was expected'),
    ('(' * 30 + 'a.flag' + ')' * 30, 1, 26, 'nested deeper'),
    ('not ' * 30 + 'a.flag', 1, 101, 'nested deeper'),
    ('-' * 30 + 'a.x > 1', 1, 26, 'nested deeper'),
    ('a.x' + ' + 1' * 30 + ' > 1', 1, 29, 'nested deeper'),
    ('a.flag' + ' or a.flag' * 220, 1, 1, 'characters'),
    ('a.b' + ' or a.b' * 200, 1, 1401, 'more than 200 parts'),
    ('a.b' + '.c' * 20 + ' > 1', 1, 34, 'at most 16 steps'),
    (' or '.join(f'max(t{n}.v) > 1' for n in range(9)), 1, 1, 'operations a message'),
])
def test_an_error_says_what_and_where(rule, line, column, told):
    with pytest.raises(RuleError) as found:
        compile_rule(rule)
    error = found.value
    assert told in error.sentence
    assert error.line == line
    assert error.column == column, str(error)


def test_the_caret_stands_below_the_place():
    with pytest.raises(RuleError) as found:
        compile_rule('a.flag\n  and raising(b.flag)')
    first, rule, caret = str(found.value).split('\n')
    assert first.startswith('line 2, column 7: ')
    assert rule[caret.index('^'):].startswith('raising')


def test_a_long_line_is_cut_around_the_place():
    with pytest.raises(RuleError) as found:
        compile_rule('a.flag or ' * 90 + 'raising(a.flag)' + ' or b.flag' * 40)
    _, rule, caret = str(found.value).split('\n')
    assert len(rule) < 100
    assert rule[caret.index('^'):].startswith('raising')


@pytest.mark.parametrize('name', FUNCTIONS)
def test_every_function_compiles_as_its_usage_says(name):
    for usage in FUNCTIONS[name].usage.split(' or '):
        call = parse(usage)
        assert isinstance(call, Call)
        assert call.function == name
        whole = {'number': f'{usage} > 1', 'duration': f'{usage} > 1 s', 'text': f"{usage} == 'b'",
                 'frequency': f'{usage} > 1 Hz', 'bool': usage}[FUNCTIONS[name].kind]
        program = compile_rule(whole)
        assert program.timed == FUNCTIONS[name].timed


def test_a_rule_knows_what_it_needs():
    program = compile_rule("policy/status.policy_client.staleness_ms > 500 and age(scan) > 1 s "
                           'and count(scan2.ranges[0:90] < 0.5) > 2')
    assert program.fields == {
        'policy/status': ('policy/status.policy_client.staleness_ms',), 'scan': (),
        'scan2': ('scan2.ranges[:90]',)}
    assert program.timed
    assert not compile_rule('rising(a.x > 1)').timed


def test_events_are_the_functions_that_the_oracle_takes_for_events():
    for name in EVENTS:
        usage = FUNCTIONS[name].usage
        with pytest.raises(RuleError, match='within'):
            compile_rule(f'for({usage}, 1 s)')
        compile_rule(f'within({usage}, 1 s)')
