"""Texts that mean harm into the recorder's trigger language, and hostile messages into its rules.

    ./dev shell python tests/fuzz_triggers.py --inputs 200000 [--seed 1]

Each input is a rule that was grown from the grammar and then damaged: tokens dropped, doubled,
swapped, taken from other rules, nested, made huge, strange letters between them. What compiles then
runs on messages that are honest, of another shape, huge, or not numbers at all. Every tenth input
is a whole rules file, damaged as text, and every tenth a message definition. Throughout:

    no exception      but RuleError (RulesError for a file): a sentence with a place in the text
    round trip        what parses is printed, and parses again to an equal tree
    bounded rules     nodes, depth, cost and what the steps may hold stay below limits.py
    bounded work      calls made while compiling grow with the text, while running with the cost:
                      counted, not timed, on every 20th input
    three values      a rule gives true, false or unknown, and nothing fires while all is unknown

At the end the process must not have grown. An input that breaks a rule is written to `--save`.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import fuzz_command
import psutil

from edge_case_recorder.rules import RulesError, default_rules, parse_rules
from edge_case_recorder.triggering import Engine, Program, RuleError, compile_rule, limits
from edge_case_recorder.triggering.functions import FUNCTIONS
from edge_case_recorder.triggering.parser import parse
from edge_case_recorder.triggering.tree import text_of

MOST_GROWTH_MB = 8.0
# Calls while compiling: a character, and for an empty text; while running: a unit of cost.
MOST_CALLS_A_CHARACTER, CALLS_FOR_NOTHING = 60, 3000
MOST_CALLS_A_COST = 24
TYPE = 'test_msgs/msg/Thing'
DEFINITION = ('float64 x\nfloat64 y\nbool flag\nstring word\nfloat64[] values\nfloat64[4] four\n'
              'Inner[] parts\nuint8[] bytes\n' + '=' * 80 + '\nMSG: test_msgs/Inner\nint32 count\n')
_FIELDS = ('x', 'y', 'flag', 'word', 'values', 'four', 'parts', 'bytes')
_TOPICS = ('a', 'b', '/c/d', 'policy/status')
_TOKENS = ('and', 'or', 'not', 'in', 'true', 'false', '(', ')', ',', '<', '<=', '>', '>=', '==',
           '!=', '+', '-', '*', '/', '0', '1', '0.5', '1e18', '1e300', '65535', '2 s', '500 ms',
           '5 Hz', '1 min', "'hold'", '"on"', "''", "a.'x y'.z", '[0]', '[1:3]', '.x', '.',
           'scan', '#', '\n', '[', ']', "'", '\\', '$', '٣', '\x00', '😀', 'é', '__class__')
_FILE = """schema_version: 1
types: {nose: sensor_msgs/msg/Range}
triggers:
  safety_stop: {before_s: 3, priority: 90, merge: true}
  near:
    when: nose.range < 0.5 and for(a.flag, 2 s)
    debounce_s: 1.0
    min_interval_s: 2
    enabled: true
    campaign: {name: winter-26, expires: 2026-12-31T00:00:00Z}
  high_staleness: {when: policy/status.policy_client.staleness_ms > 700}
"""


class RuleBroken(AssertionError):
    """A rule of this script does not hold."""


def grown(random: Random, depth: int = 3, events: bool = True) -> str:
    """A rule that is meant to compile, and mostly does; events: where they may stand."""
    topic = random.choice(_TOPICS[:3])
    if depth <= 0:
        return random.choice([
            f'{topic}.x > {random.choice(["0", "1", "-1", "1e9"])}', f'{topic}.flag',
            f"{topic}.word == 'hold'", f"{topic}.word in ('hold', '')", f'age({topic}) > 1 s',
            f'rate({topic}) < 5 Hz', f'seen({topic})', f'{topic}.x / {topic}.y > 2',
            f'count({topic}.values[0:{random.choice([9, 5000, 65535])}] < 1) >= 2',
            f'{random.choice(["min", "max", "mean", "length"])}({topic}.values) < 2',
            f'delta({topic}.x, {random.choice(["100 ms", "2 s", "600 s"])}) > 1',
            f'is_nan({topic}.four[3])', f'{topic}.parts[1].count == 2',
            'policy/status.policy_client.staleness_ms > 5',
            'policy/status.policy_client.why == text(a.word)',
            f'changed({topic}.{random.choice(_FIELDS[:4])})' if events else f'{topic}.flag'])
    name = random.choice([*FUNCTIONS, *['and', 'or', 'not', 'for', 'within', 'rising'] * 4])
    if name in ('and', 'or'):
        return f'({grown(random, depth - 1, events)} {name} {grown(random, depth - 1, events)})'
    if name in ('for', 'within'):
        time_text = random.choice(['100 ms', '2 s', '1 min'])
        return f'{name}({grown(random, depth - 1, events and name == "within")}, {time_text})'
    if name in ('not', 'rising', 'falling'):
        state = grown(random, depth - 1, False)
        return f'not ({state})' if name == 'not' or not events else f'{name}({state})'
    usage = random.choice(FUNCTIONS[name].usage.split(' or '))
    behind = {'number': '> 1', 'duration': '> 1 s', 'frequency': '< 5 Hz', 'text': "== 'b'"}
    whole = f'{usage} {behind.get(FUNCTIONS[name].kind, "")}'
    inside = grown(random, depth - 1, events)
    return f'({inside} {random.choice(["and", "or"])} {whole if name != "changed" else inside})'


def damaged(random: Random, text: str, other: str) -> str:
    """The text with up to eight injuries; other: a rule to take parts from."""
    for _ in range(random.choice([0, 0, 1, 1, 2, 8])):
        text = _injured(random, text, other)[:20_000]
    return text


def _injured(random: Random, text: str, other: str) -> str:
    first, last = sorted(random.randrange(len(text) + 1) for _ in range(2))
    before, inside, behind = text[:first], text[first:last], text[last:]
    token = random.choice(_TOKENS)
    match random.randrange(10):
        case 0:
            return before + token + inside + behind
        case 1:
            return before + behind if len(inside) > 12 else f'{before} {token} {behind}'
        case 2:
            return before + inside * random.choice([2, 3, 50]) + behind
        case 3:
            return before + other[first:last] + behind
        case 4:
            many = random.choice([1, 5, 30, 3000])
            return '(' * many + text + ')' * many
        case 5:
            return random.choice(['not ', '-', '- ']) * random.choice([1, 40, 400]) + text
        case 6:
            return text + random.choice([' and ', ' or ', ' + ']) + other
        case 7:
            return f'{random.choice(list(FUNCTIONS))}({text}, {token})'
        case 8:
            return before + chr(random.randrange(1, 0x3000)) + inside + behind
    return before + '9' * random.choice([5, 30, 400]) + inside + behind


def hostile(random: Random) -> Any:
    """A value that a message might have, or might not."""
    return random.choice([
        0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 2 ** 64, 10 ** 400, True, None, '',
        'hold', 'x' * 100_000, b'\x01', b'', b'\xff' * 300, [], [1.0, math.nan, 2.0], [None, 'a'],
        [0.5] * 5_000, [[1]], {}, {'x': 1}, SimpleNamespace(count=1),
        [SimpleNamespace(count=2)] * 3, lambda: None, float, 3 + 4j])


def a_message(random: Random) -> Any:
    if random.random() < 0.1:
        return hostile(random)
    status = SimpleNamespace(
        name=random.choice(['policy_client', 'safety_reflex', '']), level=b'\0', message='m',
        values=[SimpleNamespace(key=random.choice(['staleness_ms', 'why', 'source', 'state']),
                                value=random.choice(['6', '1e400', 'nan', 'x' * 5000, '']))])
    message = SimpleNamespace(
        x=random.choice([0.0, 1.0, 5.0, math.nan]), y=random.choice([0.0, 2.0]),
        flag=random.random() < 0.5, word=random.choice(['hold', 'on', '']),
        values=[random.random() * 3 for _ in range(random.randrange(6))], four=[0.0] * 4,
        parts=[SimpleNamespace(count=2)] * random.randrange(3), bytes=b'\x01\x02', status=[status])
    if random.random() < 0.3:
        setattr(message, random.choice([*_FIELDS, 'status']), hostile(random))
    if random.random() < 0.1:
        delattr(message, random.choice(_FIELDS))
    return message


class Subject:
    """One seed's fuzzing: rules, files and definitions in turn, and what came of them."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._other = grown(self._random)
        self.counts: Counter[str] = Counter()
        self.most: dict[str, float] = {}
        self.last = ''

    def turn(self, number: int) -> None:
        """One input; raises RuleBroken, or whatever should not have been raised."""
        match number % 10:
            case 3:
                self._file()
            case 7:
                self._definition()
            case _:
                self._rule(counted=number % 20 == 0)

    def _rule(self, counted: bool) -> None:
        whole = grown(self._random, self._random.choice([0, 1, 2, 3, 4]))
        self.last = text = damaged(self._random, whole, self._other)
        self._other = whole
        try:
            program, calls = _counting(lambda: compile_rule(text), counted)
        except RuleError as error:
            self.counts['refused'] += 1
            _check_place(error, text)
            return
        self.counts['compiled'] += 1
        self._most('calls a character', calls / max(len(text), 1))
        _must(calls <= CALLS_FOR_NOTHING + MOST_CALLS_A_CHARACTER * len(text),
              f'{calls} calls for {len(text)} characters')
        _must(len(program.factories) <= limits.MAX_NODES, 'more steps than nodes are allowed')
        _must(0 < program.cost <= limits.MAX_COST, f'a cost of {program.cost}')
        tree = parse(text)
        _must(parse(text_of(tree)) == tree, 'the text of the tree is another tree')
        self._run(program, DEFINITION, counted)

    def _run(self, program: Program, definition: str, counted: bool) -> None:
        random = self._random
        engine = Engine({'rule': program})
        _must(engine.held <= limits.MAX_HELD, f'holds {engine.held}')
        _must(not engine.on_tick(0) or 'seen(' in program.source, 'fires before anything came')
        for topic in program.topics:
            type_name = 'diagnostic_msgs/msg/DiagnosticArray' if topic == 'policy/status' else TYPE
            for error in engine.bind(topic, type_name, definition).values():
                _check_place(error, program.source)
        now_ns = random.choice([0, 10 ** 18])
        for _ in range(random.choice([5, 40])):
            now_ns += random.choice([0, 1, 10 ** 6, 10 ** 8, 10 ** 9, 10 ** 13, -10 ** 9])
            topic = random.choice([*program.topics, ''])
            message = a_message(random)
            found, calls = _counting(
                lambda topic=topic, message=message, now_ns=now_ns:
                engine.on_message(topic, message, now_ns) if topic else engine.on_tick(now_ns),
                counted)
            self.counts['fired'] += len(found)
            self.counts['messages'] += 1
            self._most('calls a cost', calls / program.cost)
            # An honest status has few values; looking for a name in many is bounded by limits.py.
            _must(calls <= 200 + MOST_CALLS_A_COST * program.cost,
                  f'{calls} calls a message for a cost of {program.cost}')
        for rule in engine._rules.values():
            _must(all(value is None or isinstance(value, float | int | bool | str | complex)
                      for value in rule._values), 'a value that is none')
            _must(rule._values[-1] in (None, True, False), 'a rule that is neither true nor false')

    def _most(self, what: str, value: float) -> None:
        self.most[what] = max(self.most.get(what, 0.0), round(value, 1))

    def _file(self) -> None:
        self.last = text = damaged(self._random, _FILE, self._other)
        try:
            parse_rules(text, default_rules(5.0, 2.0), 'file')
        except RulesError as error:
            self.counts['files refused'] += 1
            _must(str(error).startswith('file') and len(str(error)) < 3000, f'says {error}')
        else:
            self.counts['files read'] += 1

    def _definition(self) -> None:
        self.last = text = damaged(self._random, DEFINITION, self._other)
        self.counts['definitions'] += 1
        try:
            program = compile_rule(grown(self._random, 1))
        except RuleError:
            return
        self._run(program, text, counted=False)


def _check_place(error: RuleError, text: str) -> None:
    lines = text.split('\n')
    _must(1 <= error.line <= len(lines), f'line {error.line} of {len(lines)}')
    _must(1 <= error.column <= len(lines[error.line - 1]) + 1, f'column {error.column}')
    _must('\n' not in error.sentence and 0 < len(error.sentence) < 2500, 'not one sentence')


def _counting(action: Callable[[], Any], counted: bool) -> tuple[Any, int]:
    """What the action returns, and how many calls it made (Python's and C's; 0 if not counted)."""
    if not counted:
        return action(), 0
    calls = 0

    def on_event(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ('call', 'c_call')
    sys.setprofile(on_event)
    try:
        return action(), calls
    finally:
        sys.setprofile(None)


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise RuleBroken(sentence)


def fuzz(seed: int, number: int, save: Path | None = None) -> dict[str, Any]:
    """So many inputs; raises at the first that breaks a rule."""
    subject, process = Subject(seed), psutil.Process()
    begin, rss = time.monotonic(), []
    for sent in range(number):
        try:
            subject.turn(sent)
        except Exception as problem:
            problem.add_note(f'seed {seed}, input {sent}: {subject.last[:500]!r}')
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                (save / f'trigger-seed_{seed}_{sent}.txt').write_text(subject.last, 'utf-8')
            raise
        if sent * 10 >= number * (len(rss) + 1):
            rss.append(process.memory_info().rss)
    seconds = time.monotonic() - begin
    return {'inputs': number, 'seconds': round(seconds, 1), 'inputs_per_s': round(number / seconds),
            'rss_mb': [round(each / 1e6, 1) for each in rss],
            'rss_growth_mb': round((rss[-1] - rss[0]) / 1e6, 2) if rss else 0.0,
            'most': subject.most, 'counts': dict(sorted(subject.counts.items()))}


def main() -> None:
    fuzz_command.run(__doc__.partition('\n')[0], fuzz, inputs=50_000,
                     most_growth_mb=MOST_GROWTH_MB)


if __name__ == '__main__':
    main()
