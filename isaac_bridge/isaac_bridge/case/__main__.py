"""Makes a scenario of an edge case's bag."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..documents import read_document
from ..robot import RobotError, read_robot
from ..scenario import ScenarioError
from .recorded import CaseError
from .scenario_of import scenario_document, write


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the scenario is written, 2 with a sentence when none can be made."""
    parser = argparse.ArgumentParser(prog='scenario_from_case', description=__doc__)
    parser.add_argument('bag', type=Path, help="a case's folder, or a .mcap file")
    parser.add_argument('--robot', type=Path, required=True, help='config/robots/<robot>.yaml')
    parser.add_argument('--world', type=Path, metavar='SCENARIO',
                        help='take the hall and the racks of this one (its frame is odom); '
                             'otherwise what stood still in the scans becomes obstacles')
    parser.add_argument('--output', type=Path, required=True, help='the scenario, YAML')
    options = parser.parse_args(arguments)
    try:
        world = read_document(options.world, 'scenario', ScenarioError)['world'] \
            if options.world else None
        document = scenario_document(options.bag, read_robot(options.robot), world)
        write(document, options.output, options.bag)
    except (CaseError, RobotError, ScenarioError, OSError) as error:
        print(f'scenario_from_case: {error}', file=sys.stderr)
        return 2
    print(f'{options.output}: {len(document["people"])} people who moved, '
          f'{len(document["obstacles"])} obstacles')
    return 0


if __name__ == '__main__':
    sys.exit(main())
