"""Pictures inside the asset pages."""

import base64

import dagster as dg


def picture(svg: str) -> dg.MarkdownMetadataValue:
    """Return an SVG as metadata; the page shows it in place, and nothing in it runs."""
    return dg.MetadataValue.md(f"![picture](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")
