"""A comment as GitHub shows it: its markdown, what its sanitizer leaves, and the measures of its pages.

GitHub's markdown is CommonMark with tables, its sanitizer that of html-pipeline (`SanitizationFilter`: no styles, no
classes, a title on anything), and its measures are those of a comment's `markdown-body`, as far as they decide over
lines and widths.
"""

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

WIDTH_PIXELS = 940
"""Of a comment's text at most."""
TAGS = frozenset({
    "h1", "h2", "h3", "h4", "h5", "h6", "br", "b", "i", "strong", "em", "a", "pre", "code", "img", "tt", "div", "ins",
    "del", "sup", "sub", "p", "ol", "ul", "table", "thead", "tbody", "tfoot", "blockquote", "dl", "dt", "dd", "kbd",
    "q", "samp", "var", "hr", "ruby", "rt", "rp", "li", "tr", "td", "th", "s", "strike", "summary", "details",
    "caption", "figure", "figcaption", "abbr", "bdo", "cite", "dfn", "mark", "small", "span", "time", "wbr",
})  # fmt: skip
ATTRIBUTES = frozenset({"title", "align", "open", "start", "href"})
"""Of those that the sanitizer leaves, the ones that a comment of ours has."""
STYLE = f"""
body {{ margin: 0 }}
.comment {{ width: {WIDTH_PIXELS}px; font: 14px/1.5 "Liberation Sans", Helvetica, Arial, sans-serif;
  overflow-wrap: break-word; color: #1f2328; margin-bottom: 60px }}
.comment h3 {{ font-size: 1.25em; line-height: 1.25; margin: 24px 0 16px }}
.comment p, .comment table, .comment pre, .comment ul, .comment details {{ margin: 0 0 16px }}
.comment ul {{ padding-left: 2em }} .comment ul ul {{ margin: 0 }}
.comment table {{ display: block; width: max-content; max-width: 100%; overflow: auto; border-spacing: 0;
  border-collapse: collapse }}
.comment td, .comment th {{ padding: 6px 13px; border: 1px solid #d1d9e0 }}
.comment code {{ font: 85% "Liberation Mono", Menlo, monospace; padding: .2em .4em; white-space: break-spaces;
  background: #818b981f; border-radius: 6px }}
.comment pre {{ font-size: 85%; line-height: 1.45; padding: 16px; overflow: auto; background: #f6f8fa }}
.comment pre code {{ font-size: 100%; padding: 0; white-space: pre; background: none }}
"""


class _Tags(HTMLParser):
    """Collects the tags of a document and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs if (tag, name) != ("code", "class")}  # the language of a block
        if tag not in {"br", "hr", "img", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag


def rendered(comment: str) -> str:
    """The comment in HTML.

    Raises:
        AssertionError: it has something that GitHub takes away, or tags that do not match.
    """
    html: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(comment)
    html = re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL)
    tags = _Tags()
    tags.feed(html)
    assert tags.found <= TAGS, tags.found - TAGS
    assert tags.attributes <= ATTRIBUTES, tags.attributes - ATTRIBUTES
    assert not tags.open
    return html
