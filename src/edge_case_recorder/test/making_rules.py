"""Random rules and messages, and an oracle that says what a rule is by going through all history.

The oracle is slow and obvious: each function is its definition in docs/triggers.md, over the list
of everything that happened. It shares the tree with the package, and nothing that evaluates.
"""

import math
import operator
from types import SimpleNamespace

from edge_case_recorder.triggering.tree import (
    Among,
    Binary,
    Call,
    Logic,
    Number,
    Path,
    Span,
    Text,
    Truth,
    Unary,
    children,
)

MS = 1_000_000
TYPE = 'test_msgs/msg/Thing'
DEFINITION = """float64 x
float64 y
bool flag
string word
float64[] values
Inner[] parts
================================================================================
MSG: test_msgs/Inner
int32 count
"""
TOPICS = ('a', 'b', '/c/d')
WORDS = ('hold', 'onnx', 'no goal', '')
TIMED = ('for', 'within', 'delta', 'rate', 'age')
EVENTS = ('rising', 'falling', 'changed')
_TIMES = (Number(100.0, 'ms'), Number(0.5, 's'), Number(2.0, 's'))
_WINDOWS = (Number(160.0, 'ms'), Number(1.0, 's'))
_COMPARE = {'<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge,
            '==': operator.eq, '!=': operator.ne}
_NS = {'ms': MS, 's': 1000 * MS, 'min': 60_000 * MS}


def a_message(random):
    number = [-1.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf]
    return SimpleNamespace(
        x=random.choice(number), y=random.choice(number), flag=random.random() < 0.5,
        word=random.choice(WORDS), values=[random.choice(number) for _ in range(
            random.randrange(4))],
        parts=[SimpleNamespace(count=random.randrange(3)) for _ in range(random.randrange(3))])


def a_history(random, length):
    """(now_ns, topic, message), or (now_ns, '', None) for a tick."""
    now_ns, history = random.randrange(10**12), []
    for _ in range(length):
        now_ns += random.choice([0, MS, 10 * MS, 50 * MS, 100 * MS, 100 * MS, 700 * MS, 3000 * MS])
        topic = random.choice(('', *TOPICS))
        history.append((now_ns, topic, a_message(random) if topic else None))
    return history


def a_number(random, depth):
    path = Path(random.choice(TOPICS), random.choice(
        [('x',), ('y',), ('values', 0), ('values', 2), ('parts', 1, 'count')]))
    if depth <= 0:
        return random.choice([path, path, Number(random.choice([0.0, 0.5, 1.0, 2.0]))])
    array = Path(path.topic, ('values', random.choice([Span(), Span(1, -1), Span(0, 2)])))
    match random.randrange(8):
        case 0:
            return Binary(random.choice('+-*/'), a_number(random, depth - 1),
                          a_number(random, depth - 1))
        case 1:
            return Unary('-', a_number(random, depth - 1))
        case 2:
            return Call('delta', (Path(path.topic, ('x',)), random.choice(_WINDOWS)))
        case 3:
            return Call(random.choice(['min', 'max', 'mean', 'length']), (array,))
        case 4:
            return Call('count', (Binary(random.choice(list(_COMPARE)), array, random.choice(
                [Number(1.0), Unary('-', Number(1.0))])),))
        case 5:
            return Call(random.choice(['min', 'max', 'hypot']),
                        (a_number(random, depth - 1), a_number(random, depth - 1)))
        case 6:
            return Call('abs', (a_number(random, depth - 1),))
        case _:
            return path


def a_condition(random, depth, events=True):
    """A bool; with events only where they may stand."""
    topic = random.choice(TOPICS)
    word = Path(topic, ('word',))
    choices = ['compare', 'flag', 'word', 'in', 'age', 'rate', 'seen', 'contains', 'is_nan']
    if depth > 0:
        choices += ['logic', 'logic', 'logic', 'not', 'for', 'within', 'equal']
        if events:
            choices += ['edge', 'edge', 'changed', 'logic']
    match random.choice(choices):
        case 'compare':
            sides = [a_number(random, depth - 1), random.choice(
                [Number(0.0), Number(1.0), a_number(random, 0)])]
            random.shuffle(sides)
            if isinstance(sides[0], Path) and isinstance(sides[1], Path):
                sides[0] = Call('number', (sides[0],))
            return Binary(random.choice(list(_COMPARE)), *sides)
        case 'flag':
            return Path(topic, ('flag',))
        case 'word':
            return Binary(random.choice(['==', '!=']), word, Text(random.choice(WORDS)))
        case 'in':
            return random.choice([Among(word, (Text('hold'), Text('no goal'))), Among(
                Path(topic, ('x',)), (Number(-1.0), Number(2.0)))])
        case 'age':
            return Binary(random.choice(list(_COMPARE)), Call('age', (Path(topic),)),
                          random.choice(_TIMES))
        case 'rate':
            window = random.choice([(), (random.choice(_WINDOWS),)])
            return Binary('<', Call('rate', (Path(topic), *window)), Number(
                random.choice([1.0, 5.0]), 'Hz'))
        case 'seen':
            return Call('seen', (random.choice([Path(topic), Path(topic, ('values', 1))]),))
        case 'contains':
            return Call(random.choice(['contains', 'starts_with']), (word, Text('o')))
        case 'is_nan':
            return Call('is_nan', (Path(topic, ('x',)),))
        case 'logic':
            name = random.choice(['and', 'or'])
            return Logic(name, tuple(a_condition(random, depth - 1, events)
                                     for _ in range(random.choice([2, 2, 3]))))
        case 'not':
            return Unary('not', a_condition(random, depth - 1, False))
        case 'for':
            return Call('for', (a_condition(random, depth - 1, False), random.choice(_TIMES)))
        case 'within':
            return Call('within', (a_condition(random, depth - 1, True), random.choice(_TIMES)))
        case 'equal':
            return Binary(random.choice(['==', '!=']), a_condition(random, depth - 1, False),
                          Truth(random.random() < 0.5))
        case 'edge':
            return Call(random.choice(['rising', 'falling']), (
                a_condition(random, depth - 1, False),))
    return Call('changed', (Path(topic, (random.choice(['x', 'word', 'flag']),)),))


def a_rule(random, depth=3):
    """A condition that reads something."""
    tree = a_condition(random, depth)
    if any(isinstance(node, Path) for node in every_node(tree)):
        return tree
    return Logic('or', (tree, Path('a', ('flag',))))


def every_node(tree):
    return [tree, *(node for child in children(tree) for node in every_node(child))]


class Oracle:
    """What a rule is at each of its evaluations, by definition."""

    def __init__(self, tree, history):
        self.tree = tree
        nodes = every_node(tree)
        topics = {node.topic for node in nodes if isinstance(node, Path)}
        timed = any(isinstance(node, Call) and node.function in TIMED for node in nodes)
        # A rule is looked at with each message of its topics, and with ticks if it depends on time.
        self.at = [event for event in history if event[1] in topics or (timed and not event[1])]
        self._known = {}

    def fires(self):
        """The times at which the rule comes to be true."""
        return [now_ns for n, (now_ns, _, _) in enumerate(self.at)
                if self.value(self.tree, n) is True
                and (n == 0 or self.settled(self.tree, n - 1) is not True)]

    def settled(self, node, n):
        if isinstance(node, Call) and node.function in EVENTS:
            return False
        if isinstance(node, Logic):
            return _kleene(node.operator, [self.settled(each, n) for each in node.operands])
        return self.value(node, n)

    def value(self, node, n):
        key = (id(node), n)
        if key not in self._known:
            self._known[key] = self._value(node, n)
        return self._known[key]

    def _value(self, node, n):
        match node:
            case Number(value, unit):
                return value * _NS[unit] / 1e9 if unit in _NS else value
            case Truth(value) | Text(value):
                return value
            case Path(topic):
                come = [message for _, name, message in self.at[:n + 1] if name == topic]
                return _field(come[-1], node.steps) if come else None
            case Unary('not', operand):
                value = self.value(operand, n)
                return None if value is None else not value
            case Unary(_, operand):
                value = self.value(operand, n)
                return None if value is None or math.isnan(value) else -value
            case Logic(name, operands):
                return _kleene(name, [self.value(each, n) for each in operands])
            case Among(operand, choices):
                value = self.value(operand, n)
                return None if value is None or value != value else any(
                    value == each.value for each in choices)
            case Binary(sign, left, right):
                return _binary(sign, self.value(left, n), self.value(right, n))
        return getattr(self, f'_{node.function}')(n, *node.arguments)

    def _edge(self, n, condition, to):
        earlier = [self.value(condition, m) for m in range(n)]
        known = [value for value in earlier if value is not None]
        value = self.value(condition, n)
        if value is None:
            return False if known else None
        return value is to and bool(known) and known[-1] is not to

    def _rising(self, n, condition):
        return self._edge(n, condition, True)

    def _falling(self, n, condition):
        return self._edge(n, condition, False)

    def _for(self, n, condition, time):
        value = self.value(condition, n)
        if value is not True:
            return value
        first = n
        while first > 0 and self.value(condition, first - 1) is True:
            first -= 1
        return self.at[n][0] - self.at[first][0] >= _ns(time)

    def _within(self, n, condition, time):
        if any(self.value(condition, m) is True and self.at[n][0] - self.at[m][0] <= _ns(time)
               for m in range(n + 1)):
            return True
        return None if self.value(condition, n) is None else False

    def _changed(self, n, path):
        known = [value for m in range(n) if self.at[m][1] == path.topic
                 and (value := self.value(path, m)) is not None]
        value = self.value(path, n)
        if self.at[n][1] != path.topic or value is None:
            return False if known else None
        return bool(known) and repr(known[-1]) != repr(value)

    def _seen(self, n, path):
        return any(name == path.topic and (not path.steps or self.value(path, m) is not None)
                   for m, (_, name, _) in enumerate(self.at[:n + 1]))

    def _age(self, n, topic):
        come = [now_ns for now_ns, name, _ in self.at[:n + 1] if name == topic.topic]
        return (self.at[n][0] - come[-1]) / 1e9 if come else None

    def _rate(self, n, topic, window=_TIMES[2]):
        parts = [now_ns * 16 // _ns(window) for now_ns, name, _ in self.at[:n + 1]
                 if name == topic.topic]
        here = self.at[n][0] * 16 // _ns(window)
        if not parts or parts[0] >= here - 16:
            return None
        return sum(here - 16 <= part < here for part in parts) / (_ns(window) / 1e9)

    def _delta(self, n, path, window):
        here = self.at[n][0] * 16 // _ns(window)
        old = [value for m in range(n + 1) if self.at[m][1] == path.topic
               and self.at[m][0] * 16 // _ns(window) <= here - 16
               and (value := self.value(path, m)) is not None]
        value = self.value(path, n)
        if value is None or not old or math.isnan(value - old[-1]):
            return None
        return value - old[-1]

    def _elements(self, n, path):
        *steps, span = path.steps
        array = self._value(Path(path.topic, tuple(steps)), n)   # no node: not remembered
        return None if array is None else array[span.first:None if span.last < 0 else span.last]

    def _measured(self, n, path):
        return [each for each in self._elements(n, path) or [] if not math.isnan(each)]

    def _extreme(self, function, n, arguments):
        if len(arguments) == 1:
            measured = self._measured(n, arguments[0])
            return function(measured) if measured else None
        values = [self.value(each, n) for each in arguments]
        return None if any(v is None or math.isnan(v) for v in values) else function(values)

    def _min(self, n, *arguments):
        return self._extreme(min, n, arguments)

    def _max(self, n, *arguments):
        return self._extreme(max, n, arguments)

    def _hypot(self, n, *arguments):
        return self._extreme(lambda values: math.hypot(*values), n, arguments)

    def _abs(self, n, argument):
        value = self.value(argument, n)
        return None if value is None or math.isnan(value) else abs(value)

    def _mean(self, n, path):
        measured = self._measured(n, path)
        mean = sum(measured) / len(measured) if measured else None
        return None if mean is None or math.isnan(mean) else mean

    def _length(self, n, path):
        elements = self._elements(n, path)
        return None if elements is None else float(len(elements))

    def _count(self, n, comparison):
        elements = self._elements(n, comparison.left)
        limit = comparison.right
        limit = -limit.operand.value if isinstance(limit, Unary) else limit.value
        return None if elements is None else float(sum(
            _COMPARE[comparison.operator](each, limit) for each in elements
            if not math.isnan(each)))

    def _contains(self, n, text, part):
        value = self.value(text, n)
        return None if value is None else part.value in value

    def _starts_with(self, n, text, part):
        value = self.value(text, n)
        return None if value is None else value[:len(part.value)] == part.value

    def _number(self, n, path):
        return self.value(path, n)

    def _is_nan(self, n, path):
        value = self.value(path, n)
        return None if value is None else math.isnan(value)


def _ns(time):
    return int(time.value * _NS[time.unit])


def _field(message, steps):
    for step in steps:
        if isinstance(step, int):
            if step >= len(message):
                return None
            message = message[step]
        else:
            message = getattr(message, step)
    return message


def _kleene(name, values):
    """By Kleene's tables: min and max of false < unknown < true."""
    order = {False: 0, None: 1, True: 2}
    pick = min if name == 'and' else max
    return [False, None, True][pick(order[value] for value in values)]


def _binary(sign, left, right):
    if left is None or right is None:
        return None
    if sign in '+-*/':
        if sign == '/':
            return left / right if right != 0 else None
        return {'+': operator.add, '-': operator.sub, '*': operator.mul}[sign](left, right)
    if left != left or right != right:
        return None
    return _COMPARE[sign](left, right)
