"""ros2 run edge_case_recorder case_report CASE: one case as one HTML file with its pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from edge_case_recorder.bag_messages import BagError
from edge_case_recorder.manifest import ManifestError
from edge_case_recorder.report.page import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and print where it is; 1 and one sentence when it cannot be made."""
    parser = argparse.ArgumentParser(prog='case_report', description=__doc__.partition(': ')[2])
    parser.add_argument('case', type=Path, metavar='CASE',
                        help='a case\'s folder, any bag\'s folder, or an .mcap')
    parser.add_argument('--output', type=Path, metavar='FILE',
                        help='default: <name of the case>.html in this folder')
    options = parser.parse_args(arguments)
    output = options.output or Path(f'{options.case.resolve().name}.html')
    try:
        write(options.case, output)
    except (BagError, ManifestError, OSError) as error:
        Console(stderr=True).print(f'case_report: {" ".join(str(error).split())}', style='red',
                                   markup=False, highlight=False, soft_wrap=True)
        return 1
    print(output)
    return 0


if __name__ == '__main__':
    sys.exit(main())
