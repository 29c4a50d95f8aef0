"""What is wrong with a release, its signature or its repository: one sentence."""


class ReleaseError(ValueError):
    """A manifest, an artifact, a key, a store or a server is not what it must be."""
