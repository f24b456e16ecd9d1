"""Parts shared by the report and the lab's page: the head with its security policy, and the methods paragraph."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from string import Template

from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.html.markup import text


def asset(name: str) -> str:
    """Return the text of a file in this package."""
    return (files(__package__) / name).read_text("utf-8")


def opening(kind: str, *, title: str, headline: str, when: str, style: str, script: str = "") -> str:
    """Return the page up to the end of its header. All but style and script is escaped here.

    kind: "report" or "lab". The page may load nothing, and run this script only.
    """
    policy = f"default-src 'none'; img-src data:; style-src {_source(style)}; "
    if script:
        policy += f"script-src {_source(script)}; "
    return Template(asset("head.html")).substitute(
        policy=f"{policy}base-uri 'none'; form-action 'none'",
        title=text(title),
        style=style,
        kind=kind,
        headline=text(headline),
        when=text(when),
        notice=text(RESEARCH_USE),
    )


def _source(content: str) -> str:
    """Return the source expression of an inline style or script for a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def methods_section(paragraphs: Iterable[str]) -> str:
    """Return the section with the methods paragraph. paragraphs: without markup."""
    quoted = "\n".join(f"<p>{text(one)}</p>" for one in paragraphs)
    return (
        '<section aria-labelledby="methods-title" class="methods">\n<h2 id="methods-title">Methods paragraph</h2>\n'
        f"{quoted}\n</section>\n"
    )
