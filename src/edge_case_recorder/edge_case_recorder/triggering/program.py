"""A tree to a program: kinds are checked, fields become readings, functions become steps.

A program is a list of steps in the order of evaluation: as long as the tree, evaluated without
recursion or a jump. So one message costs a rule at most `cost` operations, whatever it holds.
"""

import difflib
import operator as operators
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from edge_case_recorder.triggering import limits, steps
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.functions import FUNCTIONS, Made, usage
from edge_case_recorder.triggering.names import SECONDS
from edge_case_recorder.triggering.parser import parse
from edge_case_recorder.triggering.reading import Kind, Reading
from edge_case_recorder.triggering.steps import Step
from edge_case_recorder.triggering.tree import (
    Among,
    Binary,
    Call,
    Logic,
    Node,
    Number,
    Path,
    Span,
    Text,
    Truth,
    Unary,
    path_text,
)

_ORDERED = ('<', '<=', '>', '>=')
_N, _B, _T, _D, _F = Kind.NUMBER, Kind.BOOL, Kind.TEXT, Kind.DURATION, Kind.FREQUENCY
# What two kinds make of each other.
_ARITHMETIC = {
    ('+', _N, _N): _N, ('-', _N, _N): _N, ('*', _N, _N): _N, ('/', _N, _N): _N,
    ('+', _D, _D): _D, ('-', _D, _D): _D, ('*', _D, _N): _D, ('*', _N, _D): _D,
    ('/', _D, _N): _D, ('/', _D, _D): _N, ('*', _F, _D): _N, ('*', _D, _F): _N,
    ('+', _F, _F): _F, ('-', _F, _F): _F, ('*', _F, _N): _F, ('*', _N, _F): _F,
    ('/', _F, _N): _F, ('/', _F, _F): _N,
}


@dataclass(frozen=True)
class Program:
    """A rule that can be run by an Engine.

    readings: what it takes out of messages, and where that stands in the text.
    topics: whose messages it is evaluated at. `timed`: time alone may make it true.
    cost: operations a message, at most; it is counted, not measured.
    """

    source: str
    readings: Mapping[Reading, int] = field(compare=False)
    topics: tuple[str, ...] = field(compare=False)
    cost: int = field(compare=False)
    timed: bool = field(compare=False)
    factories: tuple[Callable[[Mapping[Reading, int]], Step], ...] = field(
        compare=False, repr=False)

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The fields it reads of each topic, as written; of some it needs only arrivals."""
        found: dict[str, dict[str, None]] = {topic: {} for topic in self.topics}
        for reading in self.readings:
            found[reading.path.topic][path_text(reading.path)] = None
        return {topic: tuple(paths) for topic, paths in found.items()}


def compile_rule(source: str) -> Program:
    """Parse and check a rule's expression; raises RuleError with the place."""
    compiler = Compiler(source)
    tree = parse(source)
    made = compiler.make(tree, Kind.BOOL)
    if not compiler.topics:
        raise RuleError('no message can change this: a rule reads at least one topic', source,
                        tree.at)
    if compiler.cost > limits.MAX_COST:
        raise RuleError(f'costs {compiler.cost} operations a message, at most {limits.MAX_COST} '
                        'are allowed: name parts of arrays, as in ranges[0:100]', source, tree.at)
    assert made.place == len(compiler.factories) - 1
    return Program(source, compiler.readings, tuple(compiler.topics), compiler.cost,
                   compiler.timed, tuple(compiler.factories))


class Compiler:
    def __init__(self, source: str) -> None:
        self.source = source
        self.factories: list[Callable[[Mapping[Reading, int]], Step]] = []
        self.readings: dict[Reading, int] = {}
        self.topics: dict[str, None] = {}
        self.cost = 0
        self.timed = False

    def make(self, node: Node, wanted: Kind) -> Made:
        """The steps of the node, which must give the wanted kind (ANY: whatever it is)."""
        made = self._make(node, wanted)
        if wanted not in (made.kind, Kind.ANY):
            advice = ''
            if wanted == _B:
                advice = ': compare it with something'
            elif made.kind == _N and wanted in (_D, _F):
                advice = f': write its unit, as in {"2 s" if wanted == _D else "5 Hz"}'
            raise self.error(f'a {wanted} is needed here, and this is a {made.kind}{advice}', node)
        return made

    def natural(self, node: Node) -> Kind | None:
        """What a node is by itself; None for a field, which is what it is needed as."""
        return natural(node)

    def make_state(self, node: Node, what: str) -> Made:
        """Steps of a condition that lasts; events are true for a moment only."""
        made = self.make(node, _B)
        if made.is_event:
            raise self.error(f'{what} needs a condition that lasts, and this is true for a moment '
                             'only: put it into within(.., 1 s)', node)
        return made

    def emit(self, factory: Callable[..., Step], kind: Kind, *inputs: Made, is_event: bool = False,
             reading: tuple[Reading, Node] | None = None) -> Made:
        """A step. A reading's slot is given to it when the engine knows it."""
        indices = tuple(made.place for made in inputs)
        self.cost += 1
        if reading is None:
            self.factories.append(lambda slots: factory(inputs=indices, is_event=is_event))
        else:
            wanted, node = reading
            self.topics[wanted.path.topic] = None
            self.readings.setdefault(wanted, node.at)
            self.cost += -(-wanted.elements // limits.ELEMENTS_A_COST)
            self.factories.append(
                lambda slots: factory(inputs=indices, is_event=is_event, slot=slots[wanted]))
        return Made(len(self.factories) - 1, kind, is_event)

    def field(self, node: Path, kind: Kind) -> tuple[Reading, Node]:
        """A reading of one value; raises where the path names a topic, or a part of an array."""
        if not node.steps or isinstance(node.steps[0], int | Span):
            raise self.error(f"{node.topic} is a topic: name one of its messages' fields, as in "
                             f'{node.topic}.data', node)
        if any(isinstance(step, Span) for step in node.steps):
            raise self.error('a part of an array stands in an array function only: min, max, mean, '
                             'count, length', node)
        return Reading(node, kind), node

    def topic(self, node: Node, function: str) -> str:
        if not isinstance(node, Path) or node.steps:
            raise self.error(f'{function} takes a topic, as in {usage(function)}', node)
        self.topics[node.topic] = None
        return node.topic

    def time_ns(self, node: Node, function: str, least_ns: int = limits.MIN_TIME_NS) -> int:
        """A time that is written as a number: it must be known before anything runs."""
        if not isinstance(node, Number) or node.unit not in SECONDS:
            raise self.error(f'{function} takes a time as in 2 s, 500 ms or 1 min: '
                             f'{usage(function)}', node)
        time_ns = round(node.value * SECONDS[node.unit] * 1e9) if node.value < 1e12 else -1
        if not least_ns <= time_ns <= limits.MAX_TIME_NS:
            raise self.error(f'a time of {function} lies from {least_ns / 1e6:g} ms to '
                             f'{limits.MAX_TIME_NS / 1e9:g} s', node)
        return time_ns

    def error(self, sentence: str, node: Node) -> RuleError:
        return RuleError(sentence, self.source, node.at)

    def _make(self, node: Node, wanted: Kind) -> Made:
        match node:
            case Number(_, unit):
                kind = _N if not unit else _D if unit in SECONDS else _F
                return self.emit(partial(steps.Constant, value=_measure(node)), kind)
            case Truth(value):
                return self.emit(partial(steps.Constant, value=value), _B)
            case Text(value):
                return self.emit(partial(steps.Constant, value=value), _T)
            case Path():
                reading = self.field(node, wanted)
                if wanted in (_D, _F):
                    raise self.error(f'a {wanted} is needed here; a field is a number, a bool or '
                                     'a text: multiply it, as in odom.x * 1 s', node)
                return self.emit(steps.Read, wanted, reading=reading)
            case Unary('not', operand):
                return self.emit(steps.Not, _B, self.make_state(operand, 'not'))
            case Unary(_, operand):
                made = self.make(operand, natural(operand) or _N)
                if made.kind in (_B, _T):
                    raise self.error(f'a {made.kind} cannot be calculated with', operand)
                return self.emit(partial(steps.Function, function=operators.neg), made.kind,
                                 made)
            case Logic(operator, operands):
                parts = [self.make(each, _B) for each in operands]
                return self.emit(partial(steps.Logic, operator=operator), _B, *parts,
                                 is_event=any(part.is_event for part in parts))
            case Among(operand, choices):
                return self._among(operand, choices, node)
            case Binary(operator, left, right):
                if operator in '+-*/':
                    return self._arithmetic(operator, left, right, node)
                return self._comparison(operator, left, right, node)
            case Call(function, arguments):
                return self._call(function, arguments, node)

    def _comparison(self, operator: str, left: Node, right: Node, node: Node) -> Made:
        kind = natural(left) or natural(right)
        if kind is None:
            if operator not in _ORDERED:
                raise self.error('neither side says what it is: write number(..), text(..) or '
                                 'bool(..) around one', node)
            kind = _N
        if operator in _ORDERED and kind in (_B, _T):
            raise self.error(f'a {kind} has no order: use == or !=', node)
        first, second = self.make(left, kind), self.make(right, kind)
        if first.is_event or second.is_event:
            raise self.error('an event is compared with nothing: join it with and, or', node)
        return self.emit(partial(steps.Comparison, operator=operator), _B, first, second)

    def _arithmetic(self, operator: str, left: Node, right: Node, node: Node) -> Made:
        # A field in a sum is what its neighbour is; in a product it is a plain number.
        sides = (natural(left), natural(right))
        for side, kind in zip((left, right), sides, strict=True):
            if kind in (_B, _T):
                raise self.error(f'a {kind} cannot be calculated with', side)
        assumed = (sides[0] or sides[1] or _N) if operator in '+-' else _N
        first = self.make(left, sides[0] or assumed)
        second = self.make(right, sides[1] or assumed)
        result = _ARITHMETIC.get((operator, first.kind, second.kind))
        if result is None:
            raise self.error(f'a {first.kind} {operator} a {second.kind} means nothing', node)
        return self.emit(partial(steps.Arithmetic, operator=operator), result, first, second)

    def _among(self, operand: Node, choices: tuple[Number | Text, ...], node: Node) -> Made:
        kinds = {natural(choice) for choice in choices}
        if len(kinds) > 1:
            raise self.error('behind in stand values of one kind', node)
        values = frozenset(
            _measure(choice) if isinstance(choice, Number) else choice.value
            for choice in choices)
        kind = kinds.pop()
        assert kind is not None
        self.cost += len(choices)
        return self.emit(partial(steps.Membership, choices=values), _B, self.make(operand, kind))

    def _call(self, name: str, arguments: tuple[Node, ...], node: Call) -> Made:
        function = FUNCTIONS.get(name)
        if function is None:
            near = difflib.get_close_matches(name[:32], FUNCTIONS, 1)
            raise self.error(f'there is no function {name[:40]!r}' + (
                f'; did you mean {near[0]!r}?' if near else f': there are {", ".join(FUNCTIONS)}'),
                node)
        if not function.least <= len(arguments) <= function.most:
            raise self.error(f'{name} is written {function.usage}', node)
        self.timed |= function.timed
        return function.make(self, arguments, node)


def natural(node: Node) -> Kind | None:
    """What a node is by itself; None for a field, which is what it is needed as."""
    match node:
        case Number(_, unit):
            return _N if not unit else _D if unit in SECONDS else _F
        case Text():
            return _T
        case Path():
            return None
        case Unary('-', operand):
            return natural(operand)
        case Binary(operator, left, right) if operator in '+-*/':
            sides = (natural(left) or _N, natural(right) or _N)
            if operator in '+-' and natural(left) is None:
                sides = (sides[1], sides[1])
            elif operator in '+-' and natural(right) is None:
                sides = (sides[0], sides[0])
            return _ARITHMETIC.get((operator, *sides), _N)
        case Call(function, arguments) if function in FUNCTIONS:
            if function == 'abs' or (function in ('min', 'max') and len(arguments) > 1):
                kinds = [kind for kind in map(natural, arguments) if kind is not None]
                return kinds[0] if kinds else _N
            return FUNCTIONS[function].kind
        case _:
            return _B


def _measure(number: Number) -> float:
    """In seconds, hertz, or as it is."""
    return number.value * SECONDS.get(number.unit, 1.0)
