"""Words of the language: what may be written without quotes, units, and what is reserved."""

import re

PLAIN_TOPIC = re.compile(r'/?[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')
PLAIN_STEP = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
KEYWORDS = ('and', 'or', 'not', 'in', 'true', 'false')
SECONDS = {'ms': 1e-3, 's': 1.0, 'min': 60.0}
UNITS = (*SECONDS, 'Hz')
