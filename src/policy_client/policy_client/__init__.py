"""A GR00T policy over Triton with a deadline, a fallback and bounded staleness."""
