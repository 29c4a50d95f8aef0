"""Writes the demo's folder: report.json, report.html with its pictures inside, and the PNGs."""

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import jinja2


def write_report(folder: Path, summary: dict, pictures: Mapping[str, bytes]) -> Path:
    """Write everything into folder and return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'report.json').write_text(json.dumps(summary, indent=2) + '\n')
    for name, picture in pictures.items():
        (folder / f'{name}.png').write_bytes(picture)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (files('bringup.demo') / 'report.html.j2').read_text())
    page = folder / 'report.html'
    page.write_text(template.render(
        summary=summary,
        pictures={name: base64.b64encode(data).decode() for name, data in pictures.items()}))
    return page
