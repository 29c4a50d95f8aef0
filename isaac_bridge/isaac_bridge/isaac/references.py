"""What a USD file refers to. Needs usd-core."""

from pathlib import Path

from pxr import UsdUtils

SUFFIXES = ('.usd', '.usda', '.usdc')
TEXTURES = ('.png', '.jpg', '.jpeg', '.exr', '.hdr')


def references_of(path: Path) -> list[str]:
    """Relative paths of layers, payloads and textures; what lies elsewhere (a URL, a shader of the
    renderer's own library) is left out. Empty for what is no USD file."""
    if path.suffix not in SUFFIXES:
        return []
    layers, assets, payloads = UsdUtils.ExtractExternalReferences(str(path))
    return sorted({name for name in (*layers, *assets, *payloads) if _lies_beside(name)})


def _lies_beside(name: str) -> bool:
    """A bare name is looked for beside the layer, but may be a shader that the renderer brings."""
    if '://' in name or name.startswith('/'):
        return False
    return '/' in name or Path(name).suffix in (*SUFFIXES, *TEXTURES)
