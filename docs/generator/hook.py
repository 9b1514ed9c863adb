"""What MkDocs calls while it builds the site: the reference is written, and fences are made to be understood."""

from __future__ import annotations

import os
import re
from typing import Any

import commands
import components
import python_names
import recipe_keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from evolteacher.catalog import Catalog
from evolteacher.installed import ENVIRONMENT

_FENCE = re.compile(r"^```(\w+) +([^\n]+)$", re.MULTILINE)


def reference() -> dict[str, str]:
    """Return the pages of the reference: where each is -> its Markdown."""
    os.environ[ENVIRONMENT] = ""  # what ships, and no plugin that is installed besides
    catalog = Catalog.load()
    pages = (components.pages(catalog), recipe_keys.pages(catalog), commands.pages(catalog), python_names.pages())
    return {place: text for group in pages for place, text in group}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference to the pages that are files."""
    for place, text in reference().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the words that only the tests read out of fences; a file's name becomes its title."""
    return _FENCE.sub(_plain_fence, markdown)


def _plain_fence(fence: re.Match[str]) -> str:
    file = re.search(r"\bfile=(\S+)", fence[2])
    return f'```{fence[1]} title="{file[1]}"' if file else f"```{fence[1]}"
