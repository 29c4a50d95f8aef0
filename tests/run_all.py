"""./dev test: lint, types, every package's tests through colcon, then the launch systems.

    ./dev test              everything
    ./dev test WORDS ..     only pytest with these words (a path, -k NAME, ..)
"""

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted([*(path.parent for path in ROOT.glob('src/*/package.xml')),
                   ROOT / 'isaac_bridge'])
# Their tests have domains of their own and no deadline, so two of them may run at once.
PATIENT = ('flywheel', 'isaac_bridge')
# A colcon package may hold more than one Python package.
TYPED = [init.parent for path in PACKAGES for init in sorted(path.glob('*/__init__.py'))] + [
    ROOT / 'tools/spinal_dev']


def main(words: list[str]) -> int:
    os.chdir(ROOT)
    if words:
        return subprocess.call([sys.executable, '-m', 'pytest', *words])
    failed = [step.name for step in steps() if not run(step)]
    if failed:
        print(f'\nfailed before the launch systems: {", ".join(failed)}')
    status = subprocess.call([sys.executable, '-m', 'pytest', 'tests'])
    return status or bool(failed)


@dataclass(frozen=True)
class Step:
    """Commands that run at once; packages: whose tests they are."""

    name: str
    commands: list[list[str]]
    packages: list[Path] = field(default_factory=list)


def steps() -> list[Step]:
    python = sys.executable
    patient = [path for path in PACKAGES if path.name in PATIENT]
    return [
        Step('ruff', [[python, '-m', 'ruff', 'check', '.']]),
        # From outside the checkout's top: its launch/ folder would hide the package `launch`.
        *(Step(f'mypy {path.name}', [[
            'env', '-C', str(path.parent), python, '-m', 'mypy', '--config-file',
            str(ROOT / 'pyproject.toml'), '--cache-dir', str(ROOT / '.spinal/mypy'), path.name]])
          for path in TYPED),
        Step('colcon test', [colcon('others', '--executor', 'sequential', '--packages-skip',
                                    *PATIENT)],
             [path for path in PACKAGES if path not in patient]),
        # Not one colcon with two workers: that lets a package wait for those that it uses.
        Step('colcon test, two at once', [colcon(path.name, '--packages-select', path.name)
                                          for path in patient], patient),
    ]


def colcon(log: str, *chosen: str) -> list[str]:
    return [sys.executable, '-m', 'colcon', '--log-base', f'.spinal/log/colcon/{log}', 'test',
            *chosen, '--return-code-on-test-failure', '--event-handlers', 'console_direct-',
            'console_cohesion-', '--pytest-args', '-q']


def run(step: Step) -> bool:
    begin = time.monotonic()
    for package in step.packages:
        (ROOT / 'build' / package.name / 'pytest.xml').unlink(missing_ok=True)
    print(f'-- {step.name}', flush=True)
    running = [subprocess.Popen(command) for command in step.commands]
    statuses = [process.wait() for process in running]
    ok = not any(statuses)
    if step.packages:
        ok = report(step.packages) and ok
    print(f'-- {step.name}: {"ok" if ok else "FAILED"} in {time.monotonic() - begin:.1f} s',
          flush=True)
    return ok


def report(packages: list[Path]) -> bool:
    """A line for each package from what pytest wrote; a package without one has not been tested."""
    ok = True
    for package in packages:
        file = ROOT / 'build' / package.name / 'pytest.xml'
        if not file.exists():
            print(f'   {package.name:24} wrote no result')
            ok = False
            continue
        suite = ET.parse(file).getroot().find('testsuite')
        counts = {key: int(suite.get(key, 0)) for key in ('tests', 'failures', 'errors', 'skipped')}
        bad = counts['failures'] + counts['errors']
        print(f'   {package.name:24} {counts["tests"]} tests, {bad} failed, '
              f'{counts["skipped"]} skipped, {float(suite.get("time", 0)):.1f} s')
        if bad:
            ok = False
            output = subprocess.run(
                [sys.executable, '-m', 'colcon', 'test-result', '--verbose', '--test-result-base',
                 f'build/{package.name}'], capture_output=True, text=True, check=False).stdout
            print(output)
    return ok and shutil.which('ros2') is not None


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
