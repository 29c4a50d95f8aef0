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
    failed = [name for name, command in steps() if not run(name, command)]
    if failed:
        print(f'\nfailed before the launch systems: {", ".join(failed)}')
    status = subprocess.call([sys.executable, '-m', 'pytest', 'tests'])
    return status or bool(failed)


def steps() -> list[tuple[str, list[str]]]:
    python = sys.executable
    return [
        ('ruff', [python, '-m', 'ruff', 'check', '.']),
        # From outside the checkout's top: its launch/ folder would hide the package `launch`.
        *((f'mypy {path.name}', ['env', '-C', str(path.parent), python, '-m', 'mypy',
                                 '--config-file', str(ROOT / 'pyproject.toml'),
                                 '--cache-dir', str(ROOT / '.spinal/mypy'), path.name])
          for path in TYPED),
        ('colcon test', colcon('--executor', 'sequential', '--packages-skip', *PATIENT)),
        ('colcon test, patient packages', colcon('--executor', 'parallel', '--parallel-workers',
                                                 '2', '--packages-select', *PATIENT)),
    ]


def colcon(*chosen: str) -> list[str]:
    return [sys.executable, '-m', 'colcon', '--log-base', '.spinal/log/colcon', 'test', *chosen,
            '--return-code-on-test-failure', '--event-handlers', 'console_direct-',
            'console_cohesion-', '--pytest-args', '-q']


def run(name: str, command: list[str]) -> bool:
    begin = time.monotonic()
    tested = [package for package in PACKAGES if name.startswith('colcon test')
              and (package.name in PATIENT) == (name != 'colcon test')]
    for package in tested:
        (ROOT / 'build' / package.name / 'pytest.xml').unlink(missing_ok=True)
    print(f'-- {name}', flush=True)
    ok = subprocess.call(command) == 0
    if tested:
        ok = report(tested) and ok
    print(f'-- {name}: {"ok" if ok else "FAILED"} in {time.monotonic() - begin:.1f} s', flush=True)
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
