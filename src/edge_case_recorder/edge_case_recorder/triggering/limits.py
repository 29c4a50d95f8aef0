"""How much a rule may be, hold and cost. A rule that asks for more is refused when it is read."""

MAX_CHARACTERS = 2_000      # of one expression
MAX_DEPTH = 24              # operators and calls within one another
MAX_NODES = 200             # of the tree
MAX_TEXT = 256              # characters of a text, in a rule or in a message (longer ones are cut)
MAX_PATH_STEPS = 16         # of one field, the topic apart
MAX_TOPIC = 200             # characters of a topic's name
MAX_NAME = 128              # characters of a quoted part of a path
MAX_CHOICES = 32            # texts or numbers behind `in`
MAX_INDEX = 65_535
MAX_NUMBER = 1e18
MIN_TIME_NS, MAX_TIME_NS = 1_000_000, 600_000_000_000
MIN_WINDOW_NS = 16_000_000  # of rate() and delta(), which divide it by BUCKETS

# What an array function looks at; a longer array makes it unknown, so name a part: ranges[0:4096].
MAX_ELEMENTS = 4_096
# One step costs 1; an array function costs 1 for each 64 elements that it may look at.
MAX_COST = 512
ELEMENTS_A_COST = 64
# Statuses and values of one DiagnosticArray that are looked through for a name.
MAX_STATUSES = 64
MAX_VALUES = 128

# rate() and delta() divide their time into so many parts and remember one number for each.
BUCKETS = 16
# Numbers, texts and times that one rule remembers: delta() has two for each part of its time.
MAX_HELD_A_NODE = 2 * BUCKETS + 8
MAX_HELD = MAX_NODES * MAX_HELD_A_NODE

MAX_RULES = 64
MAX_TOPICS = 64             # that the rules of one file read
# How often the caller says that time has passed, where no message does (seconds).
TICK_NS = 100_000_000
