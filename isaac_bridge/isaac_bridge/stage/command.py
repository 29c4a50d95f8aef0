"""`ros2 run isaac_bridge stage`: the USD scene of a scenario and a robot, as a file."""

import argparse
import hashlib
import sys
from pathlib import Path

from ..robot import RobotError, read_robot
from ..scenario import ScenarioError, read_scenario


def main(arguments: list[str] | None = None) -> int:
    """0: written and valid; 1: written, but USD's validators object; 2: not written."""
    parser = argparse.ArgumentParser(prog='stage', description=__doc__)
    parser.add_argument('--scenario', required=True, type=Path, help='a file of config/scenarios')
    parser.add_argument('--robot', required=True, type=Path, help='a file of config/robots')
    parser.add_argument('--output', required=True, type=Path, help='the .usda file to write')
    options = parser.parse_args(arguments)
    if options.output.suffix != '.usda':
        parser.error(f'--output {options.output}: must end in .usda')
    try:
        from .author import author, text_of
        from .validation import problems
    except ModuleNotFoundError as problem:
        if (problem.name or '').partition('.')[0] != 'pxr':
            raise
        return _refuse('it needs the Python package usd-core, which is not installed here')
    try:
        stage = author(read_scenario(options.scenario), read_robot(options.robot))
        text = text_of(stage)
        options.output.write_text(text, encoding='utf-8')
    except (ScenarioError, RobotError) as problem:
        return _refuse(str(problem))
    except OSError as problem:
        return _refuse(f'{options.output}: {problem.strerror or problem}')
    found = problems(stage)
    for sentence in found:
        print(sentence, file=sys.stderr)
    print(f'{options.output}: sha256 {hashlib.sha256(text.encode()).hexdigest()}, '
          f'{len(found)} problems')
    return 1 if found else 0


def _refuse(sentence: str) -> int:
    print(f'stage: {sentence}', file=sys.stderr)
    return 2
