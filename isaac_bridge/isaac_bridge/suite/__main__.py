"""Holds a candidate policy against its base: a signed gate record, a JUnit file and a report.

    gate --suite config/suites/aisle.yaml --candidate FILE.onnx --base FILE.onnx
         [--case SCENARIO.yaml ..] [--key ED25519.pem] [--output DIR]
"""

import argparse
import datetime
import os
import platform
import sys
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..episode.drive import Episode
from ..robot import read_robot
from ..world import WorldError
from . import record as records
from .junit import junit
from .plan import Entry, Suite, SuiteError, of_cases, read_suite
from .policies import PolicyName, PolicyNameError
from .report import page
from .runner import Job, Setting, episodes
from .verdict import Verdict, by_key, judge

_CASE_SEEDS = 10
_Found = dict[tuple[str, int], Episode]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the candidate passed, 1 when it did not, 2 when it could not be judged."""
    options = _options(arguments)
    try:
        suite = read_suite(options.suite)
        cases = of_cases(options.case, options.case_seeds, suite.robot_file)
        candidate, base = PolicyName.parse(options.candidate), PolicyName.parse(options.base)
        key = options.key.read_bytes() if options.key else None
        options.output.mkdir(parents=True, exist_ok=True)
        setting = Setting(suite.robot_file, suite.robot_file.parents[1], engine=options.engine,
                          camera=options.camera)
        found, bases = (_run(suite, cases, policy, setting, options, name)
                        for policy, name in ((candidate, 'candidate'), (base, 'base')))
        verdict = judge(suite, cases, found, bases)
        content = records.record(
            suite, cases, candidate, base, verdict, found, bases,
            run_id=options.run_id or uuid.uuid4().hex[:12],
            made=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
            software={'isaac_bridge': version('isaac_bridge'), 'engine': options.engine,
                      'python': platform.python_version()})
        _write(options.output, suite, cases, verdict, content, found, bases, key, options.key_id)
    except (SuiteError, PolicyNameError, WorldError, records.RecordError, OSError) as error:
        print(f'gate: {error}', file=sys.stderr)
        return 2
    _tell(verdict, options.output)
    return 0 if verdict.passed else 1


def _run(suite: Suite, cases: tuple[Entry, ...], policy: PolicyName, setting: Setting,
         options: argparse.Namespace, name: str) -> _Found:
    jobs = [Job(entry.scenario, entry.file, seed, policy)
            for entry in (*suite.entries, *cases) for seed in entry.seeds]
    console = Console(stderr=True)
    with Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                  TextColumn('{task.fields[passed]} passed'), TimeRemainingColumn(),
                  console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=len(jobs), passed=0)
        passed = 0

        def done(_: Job, episode: Episode) -> None:
            nonlocal passed
            passed += episode.success
            progress.update(task, advance=1, passed=passed)
        return by_key(episodes(jobs, setting, options.processes, done))


def _write(output: Path, suite: Suite, cases: tuple[Entry, ...], verdict: Verdict,
           content: records.Record, found: _Found, bases: _Found, key: bytes | None,
           key_id: str) -> None:
    payload = records.to_bytes(content)
    (output / 'gate_record.json').write_bytes(payload)
    if key is not None:
        (output / 'gate_record.dsse.json').write_bytes(records.sign(payload, key, key_id))
    (output / 'junit.xml').write_bytes(junit(suite.name, verdict, found))
    (output / 'report.html').write_text(page(
        suite, read_robot(suite.robot_file), [entry.scenario for entry in cases], verdict, content,
        found, bases))


def _tell(verdict: Verdict, output: Path) -> None:
    pairs, gap = verdict.comparison.pairs, verdict.comparison.difference
    print(f'candidate {pairs.candidate_rate:.1%}, base {pairs.base_rate:.1%} of {pairs.n} '
          f'episodes; difference {pairs.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})')
    for case in verdict.cases:
        print(f'{case.name}: {case.candidate_passed} of {case.seeds} seeds pass, '
              f'{case.base_passed} did with the base')
    print('passed' if verdict.passed else f'not passed: {"; ".join(verdict.reasons)}')
    print(output / 'report.html')


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='gate', description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--suite', type=Path, required=True, help='config/suites/<suite>.yaml')
    parser.add_argument('--candidate', required=True, metavar='POLICY', help='[onnx:|careful:]FILE')
    parser.add_argument('--base', required=True, metavar='POLICY')
    parser.add_argument('--case', type=Path, action='append', default=[], metavar='SCENARIO',
                        help='a scenario made of a case (scenario_from_case); may be repeated')
    parser.add_argument('--case-seeds', type=int, default=_CASE_SEEDS, metavar='N')
    parser.add_argument('--key', type=Path, metavar='PEM', help='an Ed25519 key that signs')
    parser.add_argument('--key-id', default='gate', help='how verifiers know the key')
    parser.add_argument('--run-id', default='', help='by default drawn')
    parser.add_argument('--output', type=Path, default=Path('out/gate'))
    parser.add_argument('--engine', default='mujoco')
    parser.add_argument('--camera', choices=('auto', 'on', 'off'), default='auto')
    parser.add_argument('--processes', type=int, default=os.cpu_count(), metavar='N')
    options = parser.parse_args(arguments)
    for name in ('case_seeds', 'processes'):
        if not 1 <= getattr(options, name) <= 10_000:
            parser.error(f'--{name.replace("_", "-")} must be 1 to 10000')
    return options


if __name__ == '__main__':
    sys.exit(main())
