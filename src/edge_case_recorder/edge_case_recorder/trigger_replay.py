"""./dev replay --triggers FILE <bag>..: tries trigger rules on old bags.

Every message goes through the rules in the order of its log time, as the node would have given it;
what fired is listed, and held against marks. Exit status: 0; 1 if a bag could not be read, a rule
did not fit the types in it, or a rule stayed below --min-precision or --min-recall; 2 for rules,
marks or arguments that are none.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_case_recorder import graph
from edge_case_recorder.bag_messages import Bag, BagError, bags_under
from edge_case_recorder.manifest import ManifestError
from edge_case_recorder.marks import (
    Mark,
    MarksError,
    Score,
    marks_of_cases,
    read_marks,
    score,
    within,
)
from edge_case_recorder.rule_topics import RuleTopics
from edge_case_recorder.rules import RulesError, read_rules
from edge_case_recorder.triggering.limits import MAX_TIME_NS, TICK_NS
from edge_case_recorder.triggers import DETECTORS, Rule, Trigger, Triggers

_S = 1_000_000_000


@dataclass
class Replay:
    """What rules made of one bag. Times are UTC in ns; broken: why a rule did not run."""

    bag: Path
    firings: list[Trigger] = field(default_factory=list)
    messages: int = 0
    start_ns: int = 0
    end_ns: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    suppressed: Mapping[str, int] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    undecodable: Mapping[str, int] = field(default_factory=dict)


def replay(path: Path, rules: Mapping[str, Rule], namespace: str = '/',
           fallbacks: tuple[str, ...] = ('onnx',), forever: bool = False) -> Replay:
    """One bag through fresh rules; relative names of topics are taken within the namespace.

    forever: campaigns do not end. Raises BagError.
    """
    triggers, bag, found = Triggers(rules, fallbacks), Bag(path), Replay(path)
    topics = RuleTopics(triggers, lambda topic: graph.absolute(topic, namespace))
    bound: set[str] = set()
    now_ns = tick_ns = 0
    for heard in bag.messages(topics.decoded):
        if not found.messages:
            found.start_ns = now_ns = tick_ns = heard.log_ns
            triggers.on_tick(now_ns, 0 if forever else now_ns)
        found.messages += 1
        # Nothing that a rule can remember changes any more after the longest time of the language.
        tick_ns = max(tick_ns, heard.log_ns - 2 * MAX_TIME_NS)
        while tick_ns + TICK_NS <= heard.log_ns:
            tick_ns += TICK_NS
            _keep(found, triggers.on_tick(tick_ns, 0 if forever else tick_ns))
        now_ns = max(now_ns, heard.log_ns)
        if heard.topic in topics.names and heard.topic not in bound:
            bound.add(heard.topic)
            found.broken |= {rule: str(error) for rule, error in topics.bind(
                heard.topic, heard.type, heard.definition).items()}
        _keep(found, topics.on_message(heard.topic, heard.content, now_ns))
    found.end_ns = now_ns
    found.suppressed = {rule: count for rule, count in triggers.suppressed.items() if count}
    found.unseen = topics.unseen
    found.undecodable = dict(bag.undecodable)
    return found


def _keep(found: Replay, occurrences: Sequence[Any]) -> None:
    found.firings += [each for each in occurrences if isinstance(each, Trigger)]


def scores(replays: Sequence[Replay], marks: Sequence[Mark], rules: Mapping[str, Rule],
           tolerance_ns: int) -> dict[str, Score]:
    """Of every enabled rule; each bag is judged by the marks within it."""
    found = {}
    for name in (name for name, rule in rules.items() if rule.enabled):
        total = Score()
        for each in replays:
            near = within(marks, each.start_ns - tolerance_ns, each.end_ns + tolerance_ns)
            total += score(name, [firing.now_ns for firing in each.firings if firing.rule == name],
                           near, tolerance_ns)
        found[name] = total
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        rules = read_rules(options.triggers, options.before, options.after)
        marks = read_marks(options.marks) if options.marks else []
        unknown = sorted({mark.rule for mark in marks} - set(rules) - {''})
        if unknown:
            raise MarksError(f'{options.marks}: there is no rule {unknown[0]!r}')
        graph.absolute('scan', options.namespace)
    except (RulesError, MarksError, ValueError) as error:
        _complain(console, str(error))
        return 2
    replays, failures = [], []
    try:
        bags = [bag for path in options.bags for bag in bags_under(path)]
        marks += marks_of_cases(bags)
    except (BagError, ManifestError) as error:
        _complain(console, str(error))
        return 1
    with Progress(console=console, transient=True) as progress:
        for bag in progress.track(bags, description='replay'):
            try:
                replays.append(replay(bag, rules, options.namespace, tuple(options.fallback),
                                      options.forever))
            except BagError as error:
                failures.append(str(error))
    found = scores(replays, marks, rules, round(options.tolerance * _S))
    low = [name for name, one in found.items() if _is_low(one, options)]
    if options.json:
        print(json.dumps(_document(replays, found, failures), indent=2))
    else:
        _print(replays, found, marks)
    for sentence in [*failures, *(f'{each.bag}: {rule} did not run: {sentence}' for each in replays
                                  for rule, sentence in each.broken.items()),
                     *(f'{name}: below what is asked for' for name in low)]:
        _complain(console, sentence)
    return 1 if failures or low or any(each.broken for each in replays) else 0


def _complain(console: Console, sentence: str) -> None:
    console.print(f'./dev replay: {sentence}', style='red', markup=False, highlight=False,
                  soft_wrap=True)   # a caret stays below its place


def _is_low(one: Score, options: argparse.Namespace) -> bool:
    return (one.precision is not None and one.precision < options.min_precision) or (
        one.recall is not None and one.recall < options.min_recall)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='./dev replay', description=__doc__.partition('\n')[0])
    parser.add_argument('bags', type=Path, nargs='+', metavar='BAG',
                        help='a .mcap, a bag\'s folder (a case is one), or a folder of bags')
    parser.add_argument('--triggers', type=Path, required=True, metavar='FILE',
                        help='rules, as config/recorder/triggers.yaml')
    parser.add_argument('--marks', type=Path, metavar='FILE',
                        help='times that were worth a case; marks of operators count as well')
    parser.add_argument('--tolerance', type=float, default=5.0, metavar='S',
                        help='what may lie between a firing and its mark (default: 5)')
    parser.add_argument('--namespace', default='/', help='of relative topic names')
    parser.add_argument('--fallback', action='append', default=[], metavar='POLICY',
                        help='policies that count as fallbacks (default: onnx)')
    parser.add_argument('--forever', action='store_true', help='campaigns do not end')
    parser.add_argument('--before', type=float, default=5.0, metavar='S', help=argparse.SUPPRESS)
    parser.add_argument('--after', type=float, default=2.0, metavar='S', help=argparse.SUPPRESS)
    parser.add_argument('--min-precision', type=float, default=0.0, metavar='P')
    parser.add_argument('--min-recall', type=float, default=0.0, metavar='R')
    parser.add_argument('--json', action='store_true', help='print JSON instead of tables')
    options = parser.parse_args(arguments)
    if not 0 <= options.tolerance <= 3600:
        parser.error('--tolerance must be from 0 to 3600 s')
    options.fallback = options.fallback or ['onnx']
    return options


def _print(replays: Sequence[Replay], found: Mapping[str, Score], marks: Sequence[Mark]) -> None:
    console = Console(highlight=False)
    table = Table(box=None)
    for heading in ('bag', 'at, UTC', 'in, s', 'rule', 'cause'):
        table.add_column(heading, no_wrap=True)
    table.add_column('with', overflow='fold')   # the one that gives way in a narrow terminal
    for number, each in enumerate(replays, 1):
        for firing in each.firings:
            table.add_row(str(number), _utc(firing.now_ns)[11:],
                          f'{(firing.now_ns - each.start_ns) / _S:.2f}', firing.rule, firing.cause,
                          _with(firing))
    console.print(table)
    for number, each in enumerate(replays, 1):
        console.print(f'bag {number}: {each.bag}, {each.messages} messages from '
                      f'{_utc(each.start_ns)} to {_utc(each.end_ns)}', markup=False, soft_wrap=True)
    table = Table('rule', 'fired', 'too soon', 'marks', 'precision', 'recall', box=None)
    for name, one in found.items():
        suppressed = sum(each.suppressed.get(name, 0) for each in replays)
        table.add_row(name, str(one.firings), str(suppressed), str(one.marks),
                      _share(one.precision), _share(one.recall))
    console.print(table)
    seconds = sum(each.end_ns - each.start_ns for each in replays) / _S
    console.print(f'{sum(each.messages for each in replays)} messages, {seconds:.0f} s in '
                  f'{len(replays)} bags; {len(marks)} marks', markup=False)
    for topic in sorted(set.intersection(*(set(each.unseen) for each in replays))
                        if replays else ()):
        console.print(f'{topic} is in no bag: rules that need it cannot have fired', markup=False)
    for each in replays:
        for topic, count in each.undecodable.items():
            console.print(f'{each.bag.name}: {count} messages of {topic} are not what their type '
                          'says', markup=False)


def _document(replays: Sequence[Replay], found: Mapping[str, Score],
              failures: Sequence[str]) -> dict[str, Any]:
    return {
        'schema_version': 1,
        'firings': [{'stamp_ns': firing.now_ns, 'rule': firing.rule, 'cause': firing.cause,
                     'source': firing.source, 'values': dict(firing.values), 'bag': str(each.bag)}
                    for each in replays for firing in each.firings],
        'rules': {name: {'fired': one.firings, 'marks': one.marks, 'precision': one.precision,
                         'recall': one.recall} for name, one in found.items()},
        'bags': [{'bag': str(each.bag), 'messages': each.messages, 'start_ns': each.start_ns,
                  'end_ns': each.end_ns, 'broken': each.broken, 'unseen': each.unseen,
                  'undecodable': each.undecodable} for each in replays],
        'unreadable': list(failures),
    }


def _with(firing: Trigger) -> str:
    """What an expression had read; of a detector, the reasons."""
    if firing.rule in DETECTORS:
        return ', '.join(firing.reasons)
    return ', '.join(f'{key}={value}' for key, value in firing.values.items())


def _utc(stamp_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(stamp_ns // _S, datetime.UTC)
    return f'{moment:%Y-%m-%d %H:%M:%S}.{stamp_ns // 1_000_000 % 1000:03d}'


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.0%}'


if __name__ == '__main__':
    sys.exit(main())
