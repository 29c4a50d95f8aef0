"""ros2 run isaac_bridge conformance: checks any simulation_interfaces server that runs now.

    ros2 run isaac_bridge conformance --namespace /robot_1 --json conformance.json

It stops, steps, resets and reloads the simulation. 0 if nothing failed or was missing, 1 if
something did, 2 if there is no server.
"""

import argparse
import json
import sys
from pathlib import Path

from simulation_interfaces import srv

from .client import Client, Missing
from .rig import CHECKS
from .suite import report, run, table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='conformance', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--namespace', default='', help="of the server's services")
    parser.add_argument('--wait', type=float, default=10.0, metavar='S',
                        help='how long to wait for the server')
    parser.add_argument('--timeout', type=float, default=20.0, metavar='S', help='for each call')
    parser.add_argument('--json', type=Path, help='write the results to this file')
    parser.add_argument('checks', nargs='*', metavar='CHECK', help='only these')
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.checks) - set(CHECKS))
    if unknown:
        print(f'conformance: {unknown[0]} is not one of: {", ".join(CHECKS)}', file=sys.stderr)
        return 2
    try:
        with Client(options.namespace, options.timeout) as client:
            client.wait_for(srv.GetSimulatorFeatures, options.wait)
            outcomes = run(client, options.checks)
            name = client.offers(srv.GetSimulatorFeatures) or ''
    except Missing as problem:
        print(f'conformance: {problem}', file=sys.stderr)
        return 2
    print(table(outcomes))
    if options.json:
        options.json.write_text(json.dumps(report(outcomes, name), indent=2) + '\n')
    return int(any(one.result in ('failed', 'missing') for one in outcomes))


if __name__ == '__main__':
    sys.exit(main())
