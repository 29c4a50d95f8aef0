"""The trigger language of the recorder: expressions over topic fields, bounded in every way.

    text -> lexer -> parser -> tree -> checks (types) -> program (steps) -> engine (messages)

`compile_rule` does all up to the program; `Engine` runs programs message by message. No ROS, no
clock, and no `eval`: a message is read only through the fields that its definition declares.
The grammar and every function are in docs/triggers.md.
"""

from edge_case_recorder.triggering.engine import Engine, Outcome
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.program import Program, compile_rule

__all__ = ['Engine', 'Outcome', 'Program', 'RuleError', 'compile_rule']
