"""The reflex that stops a robot for every object in its path, whatever the policy says."""
