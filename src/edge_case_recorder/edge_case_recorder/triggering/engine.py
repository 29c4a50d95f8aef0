"""Runs programs message by message, and says when a rule comes to be true.

A rule is evaluated at every message of its topics, and, if it depends on time, at every tick.
It fires when its expression is true and was not: false, or not known. An event (`rising`,
`falling`, `changed`) is over as soon as it has been looked at, so each one fires anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_case_recorder.triggering import limits
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.layout import Layout, LayoutError, read_layout
from edge_case_recorder.triggering.program import Program
from edge_case_recorder.triggering.reading import DIAGNOSTICS, Reader, Reading, Value, bind
from edge_case_recorder.triggering.steps import Logic, Moment, Step, kleene
from edge_case_recorder.triggering.tree import path_text

# What a decoded message of another shape than its definition raises when it is read.
_UNREADABLE = (AttributeError, TypeError, ValueError, LookupError, OverflowError)


@dataclass(frozen=True)
class Outcome:
    """A rule has come to be true. topic: by whose message, empty by time alone.

    quiet_ns: how long it had not been true before, None if it never was.
    values: what the rule had read, by the fields' names.
    """

    rule: str
    topic: str
    quiet_ns: int | None
    values: Mapping[str, str]


class _Rule:
    """A program that runs: its steps with what they remember, and when it was true last."""

    def __init__(self, name: str, program: Program, slots: Mapping[Reading, int]) -> None:
        self.name = name
        self.program = program
        self.steps: list[Step] = [factory(slots) for factory in program.factories]
        self._events = [(index, step) for index, step in enumerate(self.steps) if step.is_event]
        self._values: list[Value] = [None] * len(self.steps)
        self._stays_true = False
        self._true_ns: int | None = None
        self.reads = [(_label(reading), slots[reading]) for reading in program.readings][:64]

    def evaluate(self, moment: Moment) -> tuple[bool, int | None]:
        """Whether it comes to be true now, and since when it had not been (ns, None: ever)."""
        values = self._values
        for index, step in enumerate(self.steps):
            values[index] = step.next(values, moment)
        stayed, self._stays_true = self._stays_true, self._settled() is True
        if stayed:   # it was true up to this message
            self._true_ns = moment.now_ns
        is_true, last_ns = values[-1] is True, self._true_ns
        if is_true:
            self._true_ns = moment.now_ns
        return is_true and not stayed, None if last_ns is None else moment.now_ns - last_ns

    def _settled(self) -> Value:
        """The value once the events of this moment are over."""
        if not self._events:
            return self._values[-1]
        values = list(self._values)
        for index, step in self._events:
            values[index] = kleene(step.operator, [values[each] for each in step.inputs]) \
                if isinstance(step, Logic) else False
        return values[-1]


class Engine:
    """programs: by the names of their rules. Times are of one steady clock, and never go back.

    topics: what has to be decoded of which topic; an empty tuple where only arrivals count.
    broken: rules that do not fit the types they met, and why; they do not run.
    unreadable: messages of which a field could not be taken although its type has it, by topic.
    """

    def __init__(self, programs: Mapping[str, Program]) -> None:
        readings = list(dict.fromkeys(
            reading for program in programs.values() for reading in program.readings))
        slots = {reading: index for index, reading in enumerate(readings)}
        self._rules = {name: _Rule(name, program, slots) for name, program in programs.items()}
        self._current: list[Value] = [None] * len(readings)
        self._slots: dict[str, list[tuple[int, Reading]]] = {}
        for reading, index in slots.items():
            self._slots.setdefault(reading.path.topic, []).append((index, reading))
        self._readers: dict[str, list[tuple[int, Reader]]] = {}
        self._bound: dict[str, tuple[str, str]] = {}
        self._errors: dict[str, dict[str, RuleError]] = {}
        self._now_ns = 0
        self.broken: dict[str, RuleError] = {}
        self.unreadable: dict[str, int] = {}
        self.topics: dict[str, tuple[str, ...]] = {}
        for program in programs.values():
            for topic, fields in program.fields.items():
                known = self.topics.get(topic, ())
                self.topics[topic] = tuple(dict.fromkeys((*known, *fields)))
        self._arrange()

    def bind(self, topic: str, type_name: str, definition: str) -> dict[str, RuleError]:
        """The type of a topic is known: `package/msg/Type`, and its definition as in a bag.

        Returns the rules that do not fit it; they stand still until another type comes.
        """
        if topic not in self.topics or self._bound.get(topic) == (type_name, definition):
            return self._errors.get(topic, {})
        self._bound[topic] = type_name, definition
        readers, failures = _readers(self._slots.get(topic, []), type_name, definition)
        self._readers[topic] = readers
        self._errors[topic] = {
            name: RuleError(failures[reading], rule.program.source, at)
            for name, rule in self._rules.items()
            for reading, at in rule.program.readings.items() if reading in failures}
        self.broken = {name: error for errors in self._errors.values()
                       for name, error in errors.items()}
        for index, _ in self._slots.get(topic, []):
            self._current[index] = None
        self._arrange()
        return self._errors[topic]

    def on_message(self, topic: str, message: Any, now_ns: int) -> list[Outcome]:
        """message: decoded, with its fields as attributes; None where only its arrival counts.

        A message of a topic whose type has not been given leaves its fields unknown.
        """
        rules = self._of_topic.get(topic)
        if rules is None:
            return []
        if message is not None:
            for index, reader in self._readers.get(topic, ()):
                try:
                    self._current[index] = reader(message)
                except _UNREADABLE:
                    self._current[index] = None
                    self.unreadable[topic] = self.unreadable.get(topic, 0) + 1
        return self._evaluate(rules, topic, now_ns)

    def on_tick(self, now_ns: int) -> list[Outcome]:
        """Time has passed: call it every limits.TICK_NS."""
        return self._evaluate(self._timed, '', now_ns)

    @property
    def held(self) -> int:
        """How many values and times all steps may remember, at most."""
        return len(self._current) + sum(
            step.held + 1 for rule in self._rules.values() for step in rule.steps)

    def _evaluate(self, rules: Iterable[_Rule], topic: str, now_ns: int) -> list[Outcome]:
        self._now_ns = max(self._now_ns, now_ns)
        moment = Moment(self._now_ns, topic, self._current)
        found = []
        for rule in rules:
            fires, quiet_ns = rule.evaluate(moment)
            if fires:
                found.append(Outcome(rule.name, topic, quiet_ns, {
                    label: _shown(self._current[slot]) for label, slot in rule.reads}))
        return found

    def _arrange(self) -> None:
        running = [rule for name, rule in self._rules.items() if name not in self.broken]
        self._of_topic = {topic: [rule for rule in running if topic in rule.program.topics]
                          for topic in self.topics}
        self._timed = [rule for rule in running if rule.program.timed]


def check_types(program: Program, topic: str, type_name: str, definition: str) -> None:
    """Raises RuleError where the rule does not fit the topic's type."""
    wanted = [(0, reading) for reading in program.readings if reading.path.topic == topic]
    _, failures = _readers(wanted, type_name, definition)
    for reading, sentence in failures.items():
        raise RuleError(sentence, program.source, program.readings[reading])


def _readers(wanted: Iterable[tuple[int, Reading]], type_name: str, definition: str
             ) -> tuple[list[tuple[int, Reader]], dict[Reading, str]]:
    readers: list[tuple[int, Reader]] = []
    failures: dict[Reading, str] = {}
    layout: Layout | None = None
    for index, reading in wanted:
        try:
            # Statuses are found by name; their definition adds nothing.
            layout = layout or (Layout(type_name, {}) if type_name == DIAGNOSTICS
                                else read_layout(type_name, definition))
            readers.append((index, bind(reading, layout)))
        except LayoutError as error:
            failures[reading] = str(error)
    return readers, failures


def _label(reading: Reading) -> str:
    name = path_text(reading.path)
    if not reading.function:
        return name[:limits.MAX_TEXT]
    behind = f' {reading.comparison} {reading.limit:g}' if reading.comparison else ''
    return f'{reading.function}({name}{behind})'[:limits.MAX_TEXT]


def _shown(value: Value) -> str:
    match value:
        case None:
            return ''
        case bool():
            return 'true' if value else 'false'
        case float():
            return f'{value:.9g}'
    return value[:limits.MAX_TEXT]
