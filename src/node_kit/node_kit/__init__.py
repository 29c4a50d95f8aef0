"""What every node of this workspace shares: its parameters as one dataclass, and a clean end."""

from node_kit.parameters import ParameterError, build, declare, document, parameter

__all__ = ['ParameterError', 'build', 'declare', 'document', 'parameter']
