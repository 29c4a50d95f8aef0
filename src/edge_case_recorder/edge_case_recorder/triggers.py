"""What makes a case: the rules, on decoded messages. No ROS, no clock.

A rule is a detector written here (the reflex's stops, the policy's trouble, the operator's mark) or
an expression of the trigger language. Both give occurrences; `Triggers` holds each against its
rule (window, debounce, minimum interval, priority, campaign). A trigger always gets its whole
window: cases may overlap, or grow, if their rule merges.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_case_recorder.triggering import Engine, Outcome, Program, RuleError
from edge_case_recorder.triggering.reading import DIAGNOSTICS

SAFETY_STATUS = 'safety_reflex'
POLICY_STATUS = 'policy_client'
OPERATOR = 'operator'
# Rules that are written in Python, and the topic whose status each needs, with its values.
DETECTORS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    'safety_stop': ('safety/state', ('state', 'reasons', 'trip_count')),
    'safety_latch': ('safety/state', ('state', 'reasons', 'trip_count')),
    'policy_fallback': ('policy/status', ('source',)),
    'policy_rejected': ('policy/status', ('rejected_chunks', 'reject_reason')),
    'operator_mark': ('', ()),
}
# Built in as well, and an expression.
RULES = (*DETECTORS, 'high_staleness')
# Reasons that hold or slow the robot and never stop it by themselves: no cause while others are.
_NEVER_THE_CAUSE = frozenset({'warning_field', 'command_stale', 'awaiting_neutral', 'start_up'})
_STATUS_TOPICS = frozenset(topic for topic, _ in DETECTORS.values() if topic)
_STANDING = frozenset({'STOPPED', 'LATCHED'})
_NOBODY = ('', 'none', 'hold')
_MAX_REASONS = 64
_MAX_VALUES = 64
_MAX_TEXT = 256
_NAME = re.compile(r'[a-z0-9_]{1,48}')


@dataclass(frozen=True)
class Rule:
    """Windows and intervals in nanoseconds; a larger priority leaves the robot first.

    when: the compiled expression; None for a detector's rule.
    debounce_ns: how long the expression must not have been true before it may fire again.
    merge: a trigger within an open case of the rule makes that longer, and no case of its own.
    expires_ns: when the campaign is over, UTC; None without one.
    """

    before_ns: int
    after_ns: int
    min_interval_ns: int
    priority: int
    enabled: bool = True
    when: Program | None = None
    debounce_ns: int = 0
    merge: bool = False
    campaign: str = ''
    expires_ns: int | None = None


@dataclass(frozen=True)
class Trigger:
    """One case to be: its cause, everything that was said about it, its window around now_ns."""

    rule: str
    source: str
    cause: str
    reasons: tuple[str, ...]
    now_ns: int
    before_ns: int
    after_ns: int
    priority: int
    values: Mapping[str, str] = field(default_factory=dict)
    merge: bool = False


@dataclass(frozen=True)
class LaterReasons:
    """More reasons for what an earlier trigger from this status began: they belong to its case."""

    source: str
    reasons: tuple[str, ...]


class SafetyStops:
    """`safety/state`: the robot comes to stand, or what stands is latched for a new reason.

    The state that is seen first, and the latch that follows STARTING, are no cases. A reason that
    joins while the robot stands belongs to the case that is there.
    """

    def __init__(self) -> None:
        self._state = ''
        self._reasons: frozenset[str] = frozenset()
        self._episode: set[str] = set()
        self._trips = -1

    def update(self, values: Mapping[str, str]) -> tuple[str, str, tuple[str, ...]] | None:
        """(rule, cause, reasons); the rule is empty where reasons only join what is there."""
        state, reasons = values.get('state', ''), _reasons(values.get('reasons', ''))
        trips = _count(values.get('trip_count', ''))
        before, before_reasons, before_trips = self._state, self._reasons, self._trips
        self._state, self._reasons, self._trips = state, frozenset(reasons), trips
        if state not in _STANDING:
            self._episode.clear()
            return None
        new = [reason for reason in reasons if reason not in self._episode]
        self._episode.update(reasons)
        if before in ('', 'STARTING'):
            return None
        # Between two messages a robot may start and stop again: the count of trips tells.
        began = before not in _STANDING or 0 <= before_trips < trips or (
            before == 'LATCHED' and state == 'STOPPED')
        latched_anew = before == 'STOPPED' and state == 'LATCHED' and any(
            reason not in _NEVER_THE_CAUSE for reason in new)
        if began:
            self._episode = set(reasons)
            appeared = [reason for reason in reasons if reason not in before_reasons]
        elif latched_anew:
            appeared = new
        else:
            return ('', '', tuple(new)) if new else None
        rule = 'safety_latch' if state == 'LATCHED' else 'safety_stop'
        return rule, _cause(appeared, reasons, state.lower()), reasons


class PolicyTrouble:
    """`policy/status`: a fallback takes the lead, or the client refused chunks.

    values: `source` (the policy that leads; `hold` while the robot is held at rest),
    `rejected_chunks` (a count), `reject_reason`. A fallback that leads from the start has taken the
    lead from nobody.
    """

    def __init__(self, fallbacks: tuple[str, ...]) -> None:
        self._fallbacks = fallbacks
        self._led_by = ''
        self._rejected = -1

    def update(self, values: Mapping[str, str]) -> list[tuple[str, str, tuple[str, ...]]]:
        """(rule, cause, reasons) of what happened with this status."""
        source, rejected = values.get('source', ''), _count(values.get('rejected_chunks', ''))
        found = []
        if 0 <= self._rejected < rejected:
            why = values.get('reject_reason', '')
            found.append(('policy_rejected', 'policy_rejected', (
                'policy_rejected', *([why] if _NAME.fullmatch(why) else []))))
        if source not in _NOBODY:
            if self._led_by and self._is_fallback(source) and not self._is_fallback(self._led_by):
                found.append(('policy_fallback', 'policy_fallback', ('policy_fallback',)))
            self._led_by = source
        self._rejected = rejected
        return found

    def _is_fallback(self, source: str) -> bool:
        return source.split(':')[0] in self._fallbacks


class Triggers:
    """All rules, message by message. `suppressed` counts what came too soon, per rule."""

    def __init__(self, rules: Mapping[str, Rule], fallbacks: tuple[str, ...] = ('onnx',)) -> None:
        missing = sorted(set(RULES) - set(rules))
        if missing:
            raise ValueError(f'there is no rule for the trigger {missing[0]!r}')
        self._rules = dict(rules)
        self._safety = SafetyStops()
        self._policy = PolicyTrouble(fallbacks)
        self._engine = Engine({name: rule.when for name, rule in rules.items()
                               if rule.enabled and rule.when is not None})
        self._last_ns: dict[tuple[str, str], int] = {}
        self._expired: frozenset[str] = frozenset()
        self._carries_statuses: dict[str, bool] = {}
        self.suppressed = dict.fromkeys(rules, 0)

    @property
    def longest_before_ns(self) -> int:
        return max(rule.before_ns for rule in self._rules.values())

    @property
    def needed(self) -> dict[str, tuple[str, ...]]:
        """Topics, as the rules write them, and the fields that are read of each.

        Nothing has to be decoded of a topic without fields: only its arrivals count.
        """
        found = dict(self._engine.topics)
        for name, (topic, keys) in DETECTORS.items():
            if topic and self._rules[name].enabled:
                status = SAFETY_STATUS if topic.startswith('safety') else POLICY_STATUS
                fields = (f'{topic}.{status}.{key}' for key in keys)
                found[topic] = tuple(dict.fromkeys((*found.get(topic, ()), *fields)))
        return found

    @property
    def broken(self) -> Mapping[str, RuleError]:
        """Rules that do not run since they do not fit the types they met, and why."""
        return self._engine.broken

    @property
    def expired(self) -> frozenset[str]:
        """Rules whose campaign is over."""
        return self._expired

    def bind(self, topic: str, type_name: str, definition: str) -> Mapping[str, RuleError]:
        """A topic's type is known (`package/msg/Type`, and its definition as a bag holds it).

        Until then its fields are not known. Returns the rules that do not fit; they stand still.
        """
        self._carries_statuses[topic] = type_name == DIAGNOSTICS
        return self._engine.bind(topic, type_name, definition)

    def on_message(self, topic: str, message: Any, now_ns: int) -> list[Trigger | LaterReasons]:
        """A decoded message of a topic that is needed, under the name that the rules give it."""
        found: list[Trigger | LaterReasons] = []
        if topic in _STATUS_TOPICS and message is not None and self._carries_statuses.get(topic):
            for status in message.status:
                if status.name in (SAFETY_STATUS, POLICY_STATUS):
                    values = {pair.key: pair.value for pair in status.values}
                    found += self.on_status(status.name, values, now_ns)
        return found + self._of(self._engine.on_message(topic, message, now_ns), now_ns)

    def on_status(self, name: str, values: Mapping[str, str],
                  now_ns: int) -> list[Trigger | LaterReasons]:
        """The detectors alone, with a DiagnosticStatus by its name and values."""
        if name == SAFETY_STATUS:
            found = self._safety.update(values)
            if found is None:
                return []
            if not found[0]:
                return [LaterReasons(SAFETY_STATUS, found[2])]
            return self._granted(name, *found, now_ns, values)
        if name == POLICY_STATUS:
            return [trigger for each in self._policy.update(values)
                    for trigger in self._granted(name, *each, now_ns, values)]
        return []

    def on_tick(self, now_ns: int, utc_ns: int) -> list[Trigger | LaterReasons]:
        """Time has passed (call it every triggering.limits.TICK_NS); campaigns end by utc_ns."""
        self._expired = frozenset(
            name for name, rule in self._rules.items()
            if rule.expires_ns is not None and utc_ns >= rule.expires_ns)
        return self._of(self._engine.on_tick(now_ns), now_ns)

    def on_mark(self, now_ns: int) -> list[Trigger | LaterReasons]:
        return self._granted(OPERATOR, 'operator_mark', 'operator_mark', ('operator_mark',),
                             now_ns, {})

    def _of(self, outcomes: list[Outcome], now_ns: int) -> list[Trigger | LaterReasons]:
        found: list[Trigger | LaterReasons] = []
        for outcome in outcomes:
            debounce_ns = self._rules[outcome.rule].debounce_ns
            if outcome.quiet_ns is not None and outcome.quiet_ns < debounce_ns:
                self.suppressed[outcome.rule] += 1
                continue
            found += self._granted(outcome.topic[:64] or 'time', outcome.rule, outcome.rule,
                                   (outcome.rule,), now_ns, outcome.values)
        return found

    def _granted(self, source: str, name: str, cause: str, reasons: tuple[str, ...], now_ns: int,
                 values: Mapping[str, str]) -> list[Trigger | LaterReasons]:
        rule = self._rules[name]
        if not rule.enabled or name in self._expired:
            return []
        last_ns = self._last_ns.get((name, cause))
        if last_ns is not None and now_ns - last_ns < rule.min_interval_ns:
            self.suppressed[name] += 1
            return []
        self._last_ns[name, cause] = now_ns
        campaign = {'campaign': rule.campaign} if rule.campaign else {}
        bounded = {key[:_MAX_TEXT]: value[:_MAX_TEXT]
                   for key, value in list({**campaign, **values}.items())[:_MAX_VALUES]}
        return [Trigger(name, source, cause, reasons, now_ns, rule.before_ns, rule.after_ns,
                        rule.priority, bounded, rule.merge)]


def _cause(appeared: list[str], reasons: tuple[str, ...], otherwise: str) -> str:
    """What appeared with the stop explains it better than what was there before."""
    for candidates in (appeared, reasons):
        for reason in candidates:
            if reason not in _NEVER_THE_CAUSE:
                return reason
    return reasons[0] if reasons else otherwise


def _reasons(text: str) -> tuple[str, ...]:
    """A comma-separated list from another process: bounded, and safe in a file's name."""
    names = (part.strip() for part in text.split(',')[:_MAX_REASONS])
    return tuple(dict.fromkeys(name if _NAME.fullmatch(name) else 'unknown'
                               for name in names if name))


def _count(text: str) -> int:
    """A count, or -1 where there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
