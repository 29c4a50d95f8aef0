"""`python -m component_container`."""

import sys

from component_container.main import main

sys.exit(main())
