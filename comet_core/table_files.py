"""Tables as files: CSV with every number, LaTeX and HTML to put into a paper or a page."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from IPython.display import display

from comet_core.errors import InputError
from comet_core.tables import MINUS, headings, readable

TYPES = {"csv": "text/csv", "tex": "text/plain", "html": "text/html"}
SUFFIXES = {"csv": "CSV", "tex": "LaTeX", "html": "HTML"}


def files(table: pd.DataFrame, name: str, caption: str) -> dict[str, bytes]:
    """A table of `beside` as files: every number as CSV, the readable text as LaTeX and HTML.

    The LaTeX is a `table` environment for the package booktabs, labelled tab:NAME.

    Returns:
        File name to content, in UTF-8: NAME.csv, NAME.tex, NAME.html.
    """
    text = readable(table)
    words = text.columns.get_level_values(0).tolist().count("")
    plain = text.map(_latex)
    plain.columns = pd.MultiIndex.from_tuples(
        [(_latex(top), _latex(name)) for top, name in headings(text)]
    )
    ruled = plain.style.hide(axis="index").to_latex(
        column_format="l" * words + "r" * (text.shape[1] - words),
        hrules=True,
        multicol_align="c",
        caption=_latex(caption),
        label=f"tab:{name}",
        position_float="centering",
    )
    page = text.style.hide(axis="index").format(escape="html").set_caption(html.escape(caption))
    page.set_uuid(name).set_table_styles(
        [
            {"selector": "", "props": "border-collapse: collapse; font-family: sans-serif"},
            {"selector": "caption", "props": "text-align: left; padding: .5em"},
            {"selector": "th, td", "props": "padding: .25em .7em; text-align: left"},
            {"selector": "thead tr:last-child th", "props": "border-bottom: 1px solid"},
        ]
    )
    return {
        f"{name}.csv": table.to_csv(index=False, lineterminator="\n").encode(),
        f"{name}.tex": ruled.encode(),
        f"{name}.html": page.to_html(doctype_html=True).encode(),
    }


def export(table: pd.DataFrame, folder: str | Path, name: str, caption: str) -> list[Path]:
    """Write the `files` of a table, each under a temporary name and then renamed.

    Returns:
        The paths: NAME.csv, NAME.tex and NAME.html in `folder`, which is made if need be.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    folder = Path(folder).expanduser()
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files(table, name, caption).items():
            aside = folder / f".{file}.part"
            aside.write_bytes(content)
            paths.append(aside.replace(folder / file))
    except OSError as error:
        raise InputError(
            f"tables cannot be written to '{folder}' ({error.strerror}); name another folder."
        ) from None
    return paths


def links(contents: Mapping[str, bytes]) -> str:
    """HTML with a link to each file, which the page itself holds: it works offline and in Jupyter.

    Args:
        contents: file name to content, as of `files`.
    """
    found = []
    for file, content in contents.items():
        suffix = file.rpartition(".")[2]
        data = base64.b64encode(content).decode()
        found.append(
            f'<a download="{html.escape(file)}" '
            f'href="data:{TYPES[suffix]};charset=utf-8;base64,{data}">{SUFFIXES[suffix]}</a>'
        )
    return f'<p class="files">This table as {", ".join(found[:-1])} or {found[-1]}</p>'


def offer(table: pd.DataFrame, name: str, caption: str, folder: str = "") -> None:
    """Display links to the files of a table and, given a folder, write them there as well."""
    content = links(files(table, name, caption))
    if folder:
        export(table, folder, name, caption)
    markdown = f"```{{raw}} html\n{content}\n```"
    display({"text/html": content, "text/markdown": markdown}, raw=True)


def _latex(text: str) -> str:
    """Text with the characters that LaTeX reads as commands escaped."""
    for character in "&%$#_":
        text = text.replace(character, f"\\{character}")
    return text.replace("–", "--").replace(MINUS, "$-$")
