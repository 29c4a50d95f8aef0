"""The gate as a command: a table of what was checked, and every finding."""

import argparse
import sys
from pathlib import Path

from .findings import GateError, Report
from .gate import run
from .wheels import VARIABLE, Wheels, find


def table(wheels: Wheels, report: Report) -> str:
    """What was looked at, and what came of it."""
    lines = [f'Isaac Sim wheels: {", ".join(wheels.distributions)} '
             f'({next(iter(wheels.distributions.values()))}), {len(wheels.extensions)} extensions']
    lines += [f'  {kind:<18}{number:>6}' for kind, number in sorted(report.counted.items())]
    lines += [f'  not checked: {skip.where}: {skip.what}' for skip in report.unchecked]
    lines += [f'  WRONG {finding.where}: {finding.what}' for finding in report.findings]
    lines.append(f'{sum(report.counted.values())} checks, {len(report.findings)} wrong, '
                 f'{len(report.unchecked)} that no source can decide')
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """0: all is as the wheels have it; 1: something is not; 2: the wheels cannot be read."""
    parser = argparse.ArgumentParser(prog='static_gate', description=__doc__)
    parser.add_argument('--wheels', action='append', default=[], metavar='SITE_PACKAGES',
                        help=f'where the isaacsim wheels are; beside sys.path and {VARIABLE}')
    parser.add_argument('--robot', action='append', default=[], type=Path,
                        help='robot files whose graphs to check as well')
    options = parser.parse_args(arguments)
    try:
        wheels = find(options.wheels)
        report = run(wheels, options.robot)
    except GateError as problem:
        print(f'static_gate: {problem}', file=sys.stderr)
        return 2
    print(table(wheels, report))
    return 0 if report.passed else 1


if __name__ == '__main__':
    sys.exit(main())
