"""What makes a case: the built-in triggers, on decoded status messages. No ROS, no clock.

A detector turns one topic's status values into occurrences; `Triggers` gives each its rule
(window, minimum interval, priority). A trigger always gets its whole window: cases may overlap.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SAFETY_STATUS = 'safety_reflex'
POLICY_STATUS = 'policy_client'
RULES = ('safety_stop', 'safety_latch', 'policy_fallback', 'policy_rejected', 'operator_mark')
# Reasons that hold or slow the robot and never stop it by themselves: no cause while others are.
_NEVER_THE_CAUSE = frozenset({'warning_field', 'command_stale', 'awaiting_neutral', 'start_up'})
_STANDING = frozenset({'STOPPED', 'LATCHED'})
_NOBODY = ('', 'none', 'hold')
_MAX_REASONS = 64
_MAX_VALUES = 64
_MAX_TEXT = 256
_NAME = re.compile(r'[a-z0-9_]{1,48}')


@dataclass(frozen=True)
class Rule:
    """Windows and interval in nanoseconds; a larger priority leaves the robot first."""

    before_ns: int
    after_ns: int
    min_interval_ns: int
    priority: int
    enabled: bool = True


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
    """All built-in triggers under their rules. `suppressed` counts what came too soon, per rule."""

    def __init__(self, rules: Mapping[str, Rule], fallbacks: tuple[str, ...] = ('onnx',)) -> None:
        missing = sorted(set(RULES) - set(rules))
        if missing:
            raise ValueError(f'there is no rule for the trigger {missing[0]!r}')
        self._rules = dict(rules)
        self._safety = SafetyStops()
        self._policy = PolicyTrouble(fallbacks)
        self._last_ns: dict[tuple[str, str], int] = {}
        self.suppressed = dict.fromkeys(rules, 0)

    @property
    def longest_before_ns(self) -> int:
        return max(rule.before_ns for rule in self._rules.values())

    def on_status(self, name: str, values: Mapping[str, str],
                  now_ns: int) -> list[Trigger | LaterReasons]:
        """A DiagnosticStatus by its name and values; unknown names are nobody's business here."""
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

    def on_mark(self, now_ns: int) -> list[Trigger | LaterReasons]:
        return self._granted('operator', 'operator_mark', 'operator_mark', ('operator_mark',),
                             now_ns, {})

    def _granted(self, source: str, name: str, cause: str, reasons: tuple[str, ...], now_ns: int,
                 values: Mapping[str, str]) -> list[Trigger | LaterReasons]:
        rule = self._rules[name]
        if not rule.enabled:
            return []
        last_ns = self._last_ns.get((name, cause))
        if last_ns is not None and now_ns - last_ns < rule.min_interval_ns:
            self.suppressed[name] += 1
            return []
        self._last_ns[name, cause] = now_ns
        bounded = {key[:_MAX_TEXT]: value[:_MAX_TEXT]
                   for key, value in list(values.items())[:_MAX_VALUES]}
        return [Trigger(name, source, cause, reasons, now_ns, rule.before_ns, rule.after_ns,
                        rule.priority, bounded)]


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
