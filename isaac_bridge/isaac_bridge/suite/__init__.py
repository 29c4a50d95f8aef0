"""A candidate policy against its base over many episodes, and the verdict that a release needs."""
