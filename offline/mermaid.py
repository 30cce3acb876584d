"""A picture as a mermaid flowchart, which GitHub draws in a comment or a page."""

from itertools import pairwise

from oci_model_serving.foreign import shown
from offline.letters import width, wrapped
from offline.picture import Fate, Picture, PlanPart, Rank, grouped
from offline.rows import rows_of

_ABREAST = 3
"""Parts of a rank that stand side by side: mermaid leads past them in wide bows, and shrinks what becomes too wide."""
_FONT_PIXELS = 16
_LINE_PIXELS = 190
"""Mermaid breaks lines at 200 (`flowchart.wrappingWidth`), at spaces only: a longer word would be cut off."""
_ROW_PIXELS = 860
"""Of a row of parts: 940 without the room that leads take which go past it."""
_PADDING_PIXELS = 62
"""Around a part's text: `flowchart.padding` of 15 twice on either side."""
_GAP_PIXELS = 50
"""Between two parts: `flowchart.nodeSpacing`."""
_LINES = 3
_STYLES = {
    Fate.CREATED: "fill:#dafbe1,stroke:#1a7f37,stroke-width:3px,color:#1f2328",
    Fate.UPDATED: "fill:#fff8c5,stroke:#9a6700,stroke-width:3px,color:#1f2328",
    Fate.RECREATED: "fill:#fff1e5,stroke:#bc4c00,stroke-width:4px,color:#1f2328,stroke-dasharray:2 3",
    Fate.REPLACED: "fill:#fbefff,stroke:#8250df,stroke-width:4px,color:#1f2328,stroke-dasharray:10 4",
    Fate.DELETED: "fill:#ffebe9,stroke:#cf222e,stroke-width:3px,color:#1f2328,stroke-dasharray:5 5",
}
"""With the text's colour, since a theme's own may be as light as these (GitHub draws by the reader's theme)."""
_ENTITIES = {ord(letter): f"#{ord(letter)};" for letter in '#&%"<>`'}
"""Mermaid's way to write them, by their numbers."""


def mermaid(picture: Picture) -> str:
    """The flowchart from top to bottom, thick arrows on the way of the digest; nothing but the text between fences."""
    picture = grouped(picture, _ABREAST)
    ids = {part.key: f"p{number}" for number, part in enumerate(picture.parts)}
    lines = ["flowchart TB", f"  accTitle: {_escaped(picture.title)}", f"  accDescr: {_escaped(picture.described)}"]
    lines += [f"  {ids[part.key]}{_box(part)}{_class(part.fate)}" for part in picture.parts]
    for lead in picture.leads:
        lines.append(f"  {ids[lead.source]} {'==>' if lead.digest else '-->'} {ids[lead.target]}")
    lines += [f"  {ids[above]} ~~~ {ids[below]}" for above, below in _ties(picture)]
    if picture.fates:
        lines += _legend(picture, ids[picture.parts[-1].key])
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """The text inside a quoted mermaid label.

    Not as they are: what ends the label or the block around the picture, mark-up, what begins an entity (`#35;`)
    and what begins a directive, which mermaid obeys wherever it stands (`%%{init: …}%%`).
    """
    return shown(text).translate(_ENTITIES)


def _ties(picture: Picture) -> list[tuple[str, str]]:
    """What nobody sees, and what keeps each part in the row of its rank: without, mermaid puts it wherever it is short.

    A rank that the page is too narrow for has several rows.
    """
    rows = rows_of(picture.parts, {part.key: _width(part) for part in picture.parts}, _ROW_PIXELS, _GAP_PIXELS)
    seen = {(lead.source, lead.target) for lead in picture.leads}
    found: dict[tuple[str, str], None] = {}
    for row, following in pairwise([part.key for part in row] for row in rows):
        held_above = {below for above, below in seen if above in row}
        held_below = {above for above, below in seen if below in following}
        found |= dict.fromkeys((row[0], below) for below in following if below not in held_above)
        found |= dict.fromkeys((above, following[0]) for above in row if above not in held_below)
    return [tie for tie in found if tie not in seen]


def _legend(picture: Picture, last: str) -> list[str]:
    """What the colours and lines mean, below all else."""
    fates = picture.fates
    boxes = [f'    f{number}["{fate.value}"]{_class(fate)}' for number, fate in enumerate(fates)]
    styles = [f"  classDef {_name(fate)} {_STYLES[fate]}" for fate in fates]
    rows = [f"    f{number} ~~~ f{number + _ABREAST}" for number in range(len(fates) - _ABREAST)]
    placed = [f"  {last} ~~~ legend", "  style legend fill:none,stroke:none"]
    return ['  subgraph legend[" "]', "    direction TB", *boxes, *rows, "  end", *placed, *styles]


def _box(part: PlanPart) -> str:
    text = "<br/>".join(map(_escaped, _text(part)))
    return f'("{text}")' if part.rank is Rank.ORIGIN else f'["{text}"]'


def _text(part: PlanPart) -> list[str]:
    return [
        line
        for said in (part.title, *part.listed, *part.details)
        for line in wrapped(said, _FONT_PIXELS, _LINE_PIXELS, _LINES)
    ]


def _width(part: PlanPart) -> float:
    return max(width(line, _FONT_PIXELS) for line in _text(part)) + _PADDING_PIXELS


def _class(fate: Fate | None) -> str:
    return f":::{_name(fate)}" if fate else ""


def _name(fate: Fate) -> str:
    return fate.value.replace(" ", "-")
