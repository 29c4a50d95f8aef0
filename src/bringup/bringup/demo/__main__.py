"""./dev demo: start servers and nodes, tell the story, write the report, say how it went."""

import argparse
import datetime
import sys
from pathlib import Path

from bringup.demo.stage import Stage


def main() -> int:
    options = _options()
    started = datetime.datetime.now(datetime.UTC)
    out = (options.out or Path('out/demo') / started.strftime('%Y%m%d-%H%M%S')).resolve()
    print(f'Spinal demo, seed {options.seed}: starting servers and nodes', file=sys.stderr)
    with Stage(out, options.seed, options.scenario, options.camera, options.domain) as stage:
        # Loaded while the nodes start: what watches, judges and draws.
        from bringup.demo.performance import perform
        try:
            return perform(stage, options.seed, started)
        except KeyboardInterrupt:
            print('\nSpinal demo: interrupted; ending servers and nodes', file=sys.stderr)
            return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='./dev demo', description=__doc__)
    parser.add_argument('--seed', type=int, default=1, help='of people and noise')
    parser.add_argument('--scenario', default='aisle.yaml', help='a file of config/scenarios')
    parser.add_argument('--camera', choices=('auto', 'on', 'off'), default='auto')
    parser.add_argument('--out', type=Path, help='folder of the report; out/demo/<stamp> if absent')
    parser.add_argument('--domain', type=int, help='ROS_DOMAIN_ID; a random one if absent')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
