import base64
import io

import pytest
from PIL import Image

from raymap.evaluation import html_page


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def write(folder, text):
    (folder / "page.md").write_text(text)
    return html_page.from_markdown(folder / "page.md", folder / "out" / "page.html").read_text()


def test_a_page_is_one_file_that_holds_its_pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "red.png").write_bytes(png("red"))
    html = write(tmp_path, "# All of it\n\nSeen:\n\n![a red square](pictures/red.png)\n")
    assert base64.b64encode(png("red")).decode() in html and 'alt="a red square"' in html
    assert "red.png" not in html and "http" not in html
    assert "<title>All of it</title>" in html


def test_tables_are_tables_that_may_be_wider_than_the_page(tmp_path):
    html = write(tmp_path, "# T\n\n| method | NMSE |\n| --- | --- |\n| **K2** | 0.02 |\n")
    assert '<div class="scroll"><table>' in html and "<td><strong>K2</strong></td>" in html


def test_what_looks_like_code_is_shown_and_not_run(tmp_path):
    html = write(tmp_path, "# T <script>alert(1)</script>\n\n<script>alert(2)</script>\n\n[a](javascript:alert(3))\n")
    assert "<script" not in html and "&lt;script&gt;alert(2)" in html and 'href="javascript' not in html


def test_a_picture_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.png"):
        write(tmp_path, "![x](gone.png)\n")
