"""What goes wrong with the catalogue."""


class CatalogueError(ValueError):
    """One clear sentence."""
