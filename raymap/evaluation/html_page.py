"""Pages as one HTML file each, which holds its pictures and fetches nothing."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined


def template(name: str):
    """A template of this folder that escapes what it is given; ``style`` is the one style sheet."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["style"] = _read("style.css")
    return environment.from_string(_read(name))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def data_url(png: bytes) -> str:
    """A picture as what an ``src`` takes."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def from_markdown(page: Path, path: Path) -> Path:
    """Write the Markdown file ``page`` as HTML to ``path``, with the PNG files that it shows; returns ``path``.

    HTML inside of the page is shown as text. Raises FileNotFoundError for a picture that is not there.
    """
    from markdown_it import MarkdownIt

    text = page.read_text(encoding="utf-8")
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for image in (child for token in tokens for child in token.children or () if child.type == "image"):
        image.attrs["src"] = data_url((page.parent / image.attrs["src"]).read_bytes())
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    title = text.splitlines()[0].lstrip("# ") if text.strip() else page.stem
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template("page.html").render(title=title, body=body), encoding="utf-8")
    return path
