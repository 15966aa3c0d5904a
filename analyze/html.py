"""Pages from templates: every text escaped, and what steers text rather than shows made visible."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analyze.tables import visible


def render(template: str, **values: Any) -> Markup:
    """A file of `analyze/templates` as HTML; a name that it needs and `values` lack is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return Markup(environment.get_template(template).render(**values))


def versions() -> str:
    """What made a page: `Python 3.11.2, polysem 0.1.0, ...`."""
    parts = [f"Python {platform.python_version()}"]
    for name in ("polysem", "torch", "polars", "numpy", "scipy", "matplotlib"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)
