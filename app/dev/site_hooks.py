"""Hooks of MkDocs (mkdocs.yml): links that leave docs/ become plain text, as the site has only its pages."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """MkDocs calls this for each page."""
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        if not target.startswith("..") and not _is_folder(target):
            return link[0]
        return link[1]

    return _LINK.sub(replaced, markdown)


def _is_folder(target: str) -> bool:
    return "." not in posixpath.basename(target)
