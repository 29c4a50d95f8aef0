"""python -m safety_watchdog."""

import sys

from safety_watchdog.main import main

sys.exit(main())
