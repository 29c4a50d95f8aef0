"""The steps of a compiled rule: each makes one value of earlier ones, and remembers little.

Values are float, bool, str, or None: not known. Logic is Kleene's: what is not known decides
nothing, and may be decided by the rest (`false and unknown` is false). A number that is not one
(NaN, from a message or from a division by zero) compares as unknown.
Durations and frequencies are float seconds and hertz here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge_case_recorder.triggering.limits import BUCKETS, MAX_TEXT
from edge_case_recorder.triggering.reading import COMPARISONS, Value


@dataclass
class Moment:
    """One evaluation. topic: what has come, empty when only time has passed; read: all readings."""

    now_ns: int
    topic: str
    read: Sequence[Value]


@dataclass
class Step:
    """inputs: the indices of earlier steps. A step with `is_event` is true for a moment only."""

    inputs: tuple[int, ...] = ()
    is_event: bool = False
    held: ClassVar[int] = 0

    def next(self, values: list[Value], moment: Moment) -> Value:
        raise NotImplementedError


@dataclass
class Constant(Step):
    value: Value = None

    def next(self, values: list[Value], moment: Moment) -> Value:
        return self.value


@dataclass
class Read(Step):
    slot: int = 0

    def next(self, values: list[Value], moment: Moment) -> Value:
        return moment.read[self.slot]


@dataclass
class Arithmetic(Step):
    operator: str = '+'

    def next(self, values: list[Value], moment: Moment) -> Value:
        left, right = values[self.inputs[0]], values[self.inputs[1]]
        if left is None or right is None:
            return None
        assert not isinstance(left, str)
        assert not isinstance(right, str)
        match self.operator:
            case '+':
                return left + right
            case '-':
                return left - right
            case '*':
                return left * right
            case _:
                return left / right if right != 0.0 else None


@dataclass
class Function(Step):
    """Numbers to a number: abs, hypot, min, max, negative."""

    function: Callable[..., float] = abs

    def next(self, values: list[Value], moment: Moment) -> Value:
        given = [values[each] for each in self.inputs]
        if any(each is None or each != each for each in given):
            return None
        return float(self.function(*given))


@dataclass
class IsNan(Step):
    def next(self, values: list[Value], moment: Moment) -> Value:
        value = values[self.inputs[0]]
        return None if value is None else value != value


@dataclass
class Comparison(Step):
    operator: str = '=='

    def next(self, values: list[Value], moment: Moment) -> Value:
        left, right = values[self.inputs[0]], values[self.inputs[1]]
        if left is None or right is None or left != left or right != right:
            return None
        return bool(COMPARISONS[self.operator](left, right))


@dataclass
class Membership(Step):
    choices: frozenset[float | str] = frozenset()

    def next(self, values: list[Value], moment: Moment) -> Value:
        value = values[self.inputs[0]]
        return None if value is None or value != value else value in self.choices


@dataclass
class TextTest(Step):
    """How the left text has the right one: contains, starts_with."""

    test: Callable[[str, str], bool] = str.startswith

    def next(self, values: list[Value], moment: Moment) -> Value:
        left, right = values[self.inputs[0]], values[self.inputs[1]]
        if left is None or right is None:
            return None
        return self.test(str(left), str(right))


def kleene(operator: str, values: Sequence[Value]) -> Value:
    """`and`, `or` of true, false and not known."""
    deciding = operator == 'or'
    if any(value is deciding for value in values):
        return deciding
    return None if any(value is None for value in values) else not deciding


@dataclass
class Logic(Step):
    operator: str = 'and'

    def next(self, values: list[Value], moment: Moment) -> Value:
        return kleene(self.operator, [values[each] for each in self.inputs])


@dataclass
class Not(Step):
    def next(self, values: list[Value], moment: Moment) -> Value:
        value = values[self.inputs[0]]
        return None if value is None else not value


@dataclass
class Edge(Step):
    """True at the evaluation at which the condition becomes `to`, having been the opposite.

    What is not known in between is passed over; what is known first is no edge.
    """

    to: bool = True
    before: Value = None
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        value, before = values[self.inputs[0]], self.before
        if value is None:
            return None if before is None else False
        self.before = value
        return value is self.to and before is not None and before is not self.to


@dataclass
class Held(Step):
    """`for`: the condition has been true at every evaluation for so long."""

    time_ns: int = 0
    since_ns: int | None = None
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        value = values[self.inputs[0]]
        if value is not True:
            self.since_ns = None
            return value
        if self.since_ns is None:
            self.since_ns = moment.now_ns
        return moment.now_ns - self.since_ns >= self.time_ns


@dataclass
class Within(Step):
    """The condition was true at some evaluation within the last so long."""

    time_ns: int = 0
    last_ns: int | None = None
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        value = values[self.inputs[0]]
        if value is True:
            self.last_ns = moment.now_ns
        if self.last_ns is not None and moment.now_ns - self.last_ns <= self.time_ns:
            return True
        return None if value is None else False


@dataclass
class Changed(Step):
    """True at the message that brings another value than the last known one."""

    slot: int = 0
    topic: str = ''
    before: Value = None
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        value, before = moment.read[self.slot], self.before
        if moment.topic != self.topic or value is None:
            return None if before is None else False
        self.before = value
        return before is not None and value != before and not (value != value and before != before)


@dataclass
class Seen(Step):
    """Whether a message (slot < 0), or this field, has come yet: always known."""

    topic: str = ''
    slot: int = -1
    seen: bool = False
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        if moment.topic == self.topic:
            self.seen |= self.slot < 0 or moment.read[self.slot] is not None
        return self.seen


@dataclass
class Age(Step):
    """Seconds since the last message of a topic was received; not known before the first."""

    topic: str = ''
    last_ns: int | None = None
    held: ClassVar[int] = 1

    def next(self, values: list[Value], moment: Moment) -> Value:
        if moment.topic == self.topic:
            self.last_ns = moment.now_ns
        return None if self.last_ns is None else (moment.now_ns - self.last_ns) / 1e9


@dataclass
class Rate(Step):
    """Messages a second over the last BUCKETS whole parts of the window.

    Not known until the window has passed since the first message; what never came has no rate.
    """

    topic: str = ''
    window_ns: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    here: int = 0
    bucket: int | None = None
    first_bucket: int = 0
    held: ClassVar[int] = BUCKETS + 3

    def next(self, values: list[Value], moment: Moment) -> Value:
        bucket = moment.now_ns * BUCKETS // self.window_ns
        if self.bucket is None:
            if moment.topic != self.topic:
                return None
            self.bucket = self.first_bucket = bucket
        while self.bucket < bucket:
            if bucket - self.bucket > BUCKETS:
                self.counts, self.here, self.bucket = [0] * BUCKETS, 0, bucket
                break
            self.counts[self.bucket % BUCKETS] = self.here
            self.here = 0
            self.bucket += 1
        if moment.topic == self.topic:
            self.here += 1
        if bucket - self.first_bucket <= BUCKETS:
            return None
        return sum(self.counts) / (self.window_ns / 1e9)


@dataclass
class Delta(Step):
    """By how much a field has changed: against its last value BUCKETS parts of the time ago."""

    slot: int = 0
    topic: str = ''
    window_ns: int = 0
    # (bucket, the last value that came in it), the oldest first; the first one may be older.
    past: list[tuple[int, float]] = field(default_factory=list)
    held: ClassVar[int] = 2 * (BUCKETS + 2)

    def next(self, values: list[Value], moment: Moment) -> Value:
        bucket = moment.now_ns * BUCKETS // self.window_ns
        value = moment.read[self.slot]
        if moment.topic == self.topic and value is not None:
            assert not isinstance(value, str)
            if self.past and self.past[-1][0] == bucket:
                self.past.pop()
            self.past.append((bucket, float(value)))
        while len(self.past) > 1 and self.past[1][0] <= bucket - BUCKETS:
            del self.past[0]
        if not self.past or self.past[0][0] > bucket - BUCKETS or value is None:
            return None
        change = float(value) - self.past[0][1]
        return None if math.isnan(change) else change


def contains(text: str, part: str) -> bool:
    return part in text[:MAX_TEXT]
