"""The print edition: a page becomes a PDF, and what is missing is said."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
import build  # noqa: E402
import print_edition  # noqa: E402


@pytest.fixture
def program() -> str:
    pytest.importorskip("playwright.sync_api")
    try:
        return print_edition.find_browser()
    except build.BuildError:
        pytest.skip("no Chromium here; on Debian, `apt install chromium` brings one")


def page(folder: Path, body: str) -> Path:
    path = folder / "index.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><h1>Title</h1>{body}", encoding="utf-8")
    return path


@pytest.mark.browser
def test_a_page_is_printed_with_its_figures(tmp_path: Path, program: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    source = page(
        tmp_path, f'<div style="height: 5000px"></div><img loading="lazy" src="{address}">'
    )
    out = tmp_path / "book.pdf"
    print_edition.print_page(source, out, program)
    content = out.read_bytes()
    assert content.startswith(b"%PDF-") and b"/Subtype /Image" in content
    assert content.count(b"/Type /Page\n") >= 3
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.browser
@pytest.mark.parametrize("body", ['<img src="gone.png">', '<span class="math">\\(x\\)</span>'])
def test_a_lost_figure_or_formula_stops_the_print(tmp_path: Path, program: str, body: str) -> None:
    with pytest.raises(build.BuildError, match=r"lacks (1 figures and 0|0 figures and 1)"):
        print_edition.print_page(page(tmp_path, body), tmp_path / "book.pdf", program)
    assert not (tmp_path / "book.pdf").exists()


def test_without_a_browser_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert print_edition.main() == 1
    assert "needs Chromium" in capsys.readouterr().err


def test_without_a_book_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "SITE", tmp_path)
    with pytest.raises(build.BuildError, match="`make book` builds it"):
        print_edition.one_page()
