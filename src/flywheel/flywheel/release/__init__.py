"""Releases: a signed manifest, the model repository that keeps it, the pods that serve it."""
