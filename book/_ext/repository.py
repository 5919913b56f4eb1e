"""Buttons that lead to the repository: one setting, `repository.url` in `_config.yml`.

Empty, there are none. Pages are edited where they are written and launched where they are kept:
neither is where the site is built from, so the theme's own buttons would lead astray.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx

BINDER, COLAB = "https://mybinder.org/v2", "https://colab.research.google.com"


def source(docname: str) -> str:
    """Path in the repository of what a page is written in."""
    return f"{docname}.py" if docname.startswith("notebooks/") else f"book/{docname}.md"


def links(url: str, branch: str, docname: str) -> dict[str, str]:
    """Addresses for a page: "Repository", "Edit this page", "Open an issue", "Binder", "Colab".

    Args:
        url: of the repository; "" gives none. Hosts other than GitHub and GitLab get a link to the
            repository and, for notebooks, Binder's.
        branch: which readers are sent to.
        docname: of the page, "notebooks/boundary".
    """
    url = url.strip().rstrip("/").removesuffix(".git")
    if not url:
        return {}
    host, _, name = url.partition("://")[2].partition("/")
    title = quote(f"{docname}: ")
    found = {"Repository": url}
    if host == "github.com":
        found["Edit this page"] = f"{url}/edit/{branch}/{source(docname)}"
        found["Open an issue"] = f"{url}/issues/new?title={title}"
    elif host == "gitlab.com":
        found["Edit this page"] = f"{url}/-/edit/{branch}/{source(docname)}"
        found["Open an issue"] = f"{url}/-/issues/new?issue[title]={title}"
    if docname.startswith("notebooks/"):
        kind = {"github.com": f"gh/{name}", "gitlab.com": f"gl/{quote(name, safe='')}"}
        at = f"{kind.get(host, f'git/{quote(url, safe=str())}')}/{branch}"
        found["Binder"] = f"{BINDER}/{at}?urlpath=lab/tree/{docname}.ipynb"
        if host == "github.com":
            found["Colab"] = f"{COLAB}/github/{name}/blob/{branch}/{docname}.ipynb"
    return found


ICONS = {
    "Repository": "fas fa-code-branch",
    "Edit this page": "fas fa-pencil",
    "Open an issue": "fas fa-circle-question",
    "Binder": "_static/images/logo_binder.svg",
    "Colab": "_static/images/logo_colab.png",
}


def add_buttons(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Put the links of a page into its header, as the theme's groups of buttons."""
    options = app.config["html_theme_options"]
    url, branch = options.get("repository_url", ""), options.get("repository_branch") or "main"
    found = links(url, branch, page) if tree is not None else {}
    for label, icon, names in (
        ("launch", "fas fa-rocket", ("Binder", "Colab")),
        ("source", "fas fa-code-branch", ("Repository", "Edit this page", "Open an issue")),
    ):
        buttons = [
            {
                "type": "link",
                "url": found[n],
                "text": n,
                "icon": ICONS[n],
                "label": f"{label}-button",
            }
            for n in names
            if n in found
        ]
        if buttons:
            tip = "Run this page elsewhere" if label == "launch" else "Where this page comes from"
            group = {"type": "group", "tooltip": tip, "icon": icon, "buttons": buttons}
            context["header_buttons"].insert(0, group | {"label": f"{label}-buttons"})


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_buttons, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
