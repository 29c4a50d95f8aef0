"""Every function of the language: how it is written, what it gives, and the steps it becomes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from edge_case_recorder.triggering import limits, steps
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.reading import COMPARISONS, Kind, Reading
from edge_case_recorder.triggering.tree import Binary, Call, Node, Number, Path, Span, Unary

DEFAULT_RATE_NS = 2_000_000_000
# `contains` may have to look at every place of a text.
_CONTAINS_COST = 8


class Made(NamedTuple):
    """A step that has been made: its place in the list, its kind, and if it lasts a moment only."""

    place: int
    kind: Kind
    is_event: bool = False


class Compiler(Protocol):
    """What a function needs to become steps (program.py)."""

    cost: int

    def make(self, node: Node, wanted: Kind) -> Made: ...

    def natural(self, node: Node) -> Kind | None: ...

    def make_state(self, node: Node, what: str) -> Made: ...

    def emit(self, factory: Callable[..., steps.Step], kind: Kind, *inputs: Made,
             is_event: bool = False, reading: tuple[Reading, Node] | None = None) -> Made: ...

    def field(self, node: Path, kind: Kind) -> tuple[Reading, Node]: ...

    def topic(self, node: Node, function: str) -> str: ...

    def time_ns(self, node: Node, function: str, least_ns: int = limits.MIN_TIME_NS) -> int: ...

    def error(self, sentence: str, node: Node) -> RuleError: ...


type Maker = Callable[[Compiler, tuple[Node, ...], Call], Made]


@dataclass(frozen=True)
class Function:
    """least, most: how many arguments; kind: what it gives; timed: time alone changes it."""

    usage: str
    least: int
    most: int
    kind: Kind
    timed: bool
    make: Maker


def usage(name: str) -> str:
    return FUNCTIONS[name].usage


def _edge(to: bool) -> Maker:
    def make(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
        made = compiler.make_state(arguments[0], node.function)
        return compiler.emit(partial(steps.Edge, to=to), Kind.BOOL, made, is_event=True)
    return make


def _held(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    made = compiler.make_state(arguments[0], 'for')
    time_ns = compiler.time_ns(arguments[1], 'for')
    return compiler.emit(partial(steps.Held, time_ns=time_ns), Kind.BOOL, made)


def _within(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    made = compiler.make(arguments[0], Kind.BOOL)
    time_ns = compiler.time_ns(arguments[1], 'within')
    return compiler.emit(partial(steps.Within, time_ns=time_ns), Kind.BOOL, made)


def _changed(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    path = _field(compiler, arguments[0], node)
    reading = compiler.field(path, Kind.ANY)
    return compiler.emit(partial(steps.Changed, topic=path.topic), Kind.BOOL, is_event=True,
                         reading=reading)


def _delta(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    path = _field(compiler, arguments[0], node)
    reading = compiler.field(path, Kind.NUMBER)
    window_ns = compiler.time_ns(arguments[1], 'delta', limits.MIN_WINDOW_NS)
    return compiler.emit(partial(steps.Delta, topic=path.topic, window_ns=window_ns), Kind.NUMBER,
                         reading=reading)


def _rate(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    topic = compiler.topic(arguments[0], 'rate')
    window_ns = DEFAULT_RATE_NS if len(arguments) == 1 else compiler.time_ns(
        arguments[1], 'rate', limits.MIN_WINDOW_NS)
    compiler.cost += limits.BUCKETS
    return compiler.emit(partial(steps.Rate, topic=topic, window_ns=window_ns), Kind.FREQUENCY)


def _age(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    topic = compiler.topic(arguments[0], 'age')
    return compiler.emit(partial(steps.Age, topic=topic), Kind.DURATION)


def _seen(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    given = arguments[0]
    if isinstance(given, Path) and given.steps:
        return compiler.emit(partial(steps.Seen, topic=given.topic), Kind.BOOL,
                             reading=compiler.field(given, Kind.ANY))
    return compiler.emit(partial(steps.Seen, topic=compiler.topic(given, 'seen')), Kind.BOOL)


def _array(compiler: Compiler, given: Node, node: Call) -> Path:
    if not isinstance(given, Path) or not given.steps or \
            any(isinstance(step, Span) for step in given.steps[:-1]):
        raise compiler.error(f'{node.function} goes through one array, as in '
                             f'{FUNCTIONS[node.function].usage}', given)
    return given


def _over_array(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    path = _array(compiler, arguments[0], node)
    return compiler.emit(steps.Read, Kind.NUMBER, reading=(
        Reading(path, Kind.NUMBER, node.function), arguments[0]))


def _count(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    given = arguments[0]
    if not isinstance(given, Binary) or given.operator not in COMPARISONS:
        raise compiler.error('count takes a comparison of an array with a number, as in '
                             'count(scan.ranges < 0.5)', given)
    limit = given.right.operand if isinstance(given.right, Unary) else given.right
    if not isinstance(limit, Number) or limit.unit:
        raise compiler.error('the elements are compared with a plain number', given.right)
    value = -limit.value if isinstance(given.right, Unary) else limit.value
    path = _array(compiler, given.left, node)
    return compiler.emit(steps.Read, Kind.NUMBER, reading=(
        Reading(path, Kind.NUMBER, 'count', given.operator, value), given.left))


def _extreme(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    """Of an array, or of several values."""
    if len(arguments) == 1:
        return _over_array(compiler, arguments, node)
    return _of_values({'min': min, 'max': max}[node.function])(compiler, arguments, node)


def _of_values(function: Callable[..., float]) -> Maker:
    def make(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
        kind = compiler.natural(node) or Kind.NUMBER
        if kind not in (Kind.NUMBER, Kind.DURATION, Kind.FREQUENCY):
            raise compiler.error(f'{node.function} of a {kind} means nothing', arguments[0])
        made = [compiler.make(each, kind) for each in arguments]
        return compiler.emit(partial(steps.Function, function=function), kind, *made)
    return make


def _text_test(test: Callable[[str, str], bool]) -> Maker:
    def make(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
        compiler.cost += _CONTAINS_COST
        made = [compiler.make(each, Kind.TEXT) for each in arguments]
        return compiler.emit(partial(steps.TextTest, test=test), Kind.BOOL, *made)
    return make


def _is_nan(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
    made = compiler.make(_field(compiler, arguments[0], node), Kind.NUMBER)
    return compiler.emit(steps.IsNan, Kind.BOOL, made)


def _cast(kind: Kind) -> Maker:
    def make(compiler: Compiler, arguments: tuple[Node, ...], node: Call) -> Made:
        return compiler.make(_field(compiler, arguments[0], node), kind)
    return make


def _field(compiler: Compiler, given: Node, node: Call) -> Path:
    if not isinstance(given, Path):
        raise compiler.error(f'{node.function} takes a field, as in {usage(node.function)}', given)
    return given


_N, _B = Kind.NUMBER, Kind.BOOL
FUNCTIONS: dict[str, Function] = {
    'rising': Function('rising(odom.twist.twist.linear.x > 1)', 1, 1, _B, False, _edge(True)),
    'falling': Function('falling(dock.data)', 1, 1, _B, False, _edge(False)),
    'for': Function('for(battery.percentage < 0.2, 2 s)', 2, 2, _B, True, _held),
    'within': Function('within(changed(task.data), 5 s)', 2, 2, _B, True, _within),
    'changed': Function('changed(task.data)', 1, 1, _B, False, _changed),
    'delta': Function('delta(odom.pose.pose.position.x, 1 s)', 2, 2, _N, True, _delta),
    'rate': Function('rate(scan) or rate(scan, 5 s)', 1, 2, Kind.FREQUENCY, True, _rate),
    'age': Function('age(scan)', 1, 1, Kind.DURATION, True, _age),
    'seen': Function('seen(scan)', 1, 1, _B, False, _seen),
    'min': Function('min(scan.ranges) or min(a.data, b.data)', 1, 8, _N, False, _extreme),
    'max': Function('max(scan.ranges[0:90]) or max(a.data, b.data)', 1, 8, _N, False, _extreme),
    'mean': Function('mean(scan.ranges[0:90])', 1, 1, _N, False, _over_array),
    'count': Function('count(scan.ranges < 0.5)', 1, 1, _N, False, _count),
    'length': Function('length(path.poses)', 1, 1, _N, False, _over_array),
    'abs': Function('abs(odom.twist.twist.angular.z)', 1, 1, _N, False, _of_values(abs)),
    'hypot': Function('hypot(a.x, a.y)', 2, 3, _N, False, _of_values(math.hypot)),
    'contains': Function("contains(task.data, 'dock')", 2, 2, _B, False,
                         _text_test(steps.contains)),
    'starts_with': Function("starts_with(task.data, 'dock')", 2, 2, _B, False,
                            _text_test(str.startswith)),
    'is_nan': Function('is_nan(scan.ranges[0])', 1, 1, _B, False, _is_nan),
    'number': Function('number(a.b)', 1, 1, _N, False, _cast(Kind.NUMBER)),
    'text': Function('text(a.b)', 1, 1, Kind.TEXT, False, _cast(Kind.TEXT)),
    'bool': Function('bool(a.b)', 1, 1, _B, False, _cast(Kind.BOOL)),
}
