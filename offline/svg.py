"""A picture as SVG, without a browser: for a page, a wiki or a mail that draws no mermaid."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from oci_model_serving.foreign import shown
from offline.letters import width, wrapped
from offline.picture import Fate, Picture, PlanPart, Rank, grouped
from offline.rows import Rows, Spot, placed

WIDTH_PIXELS = 940
"""Of the whole, at most: what GitHub and most pages show without scrolling."""
_ABREAST = 4
"""Parts of a rank that stand side by side."""
_MARGIN = 20
_GAP = 32
_BETWEEN_ROWS = 40
_PADDING = 12
_LINE_PIXELS = 236
"""Of a text: three parts and their gaps are as wide as the page."""
_LINES = 3
_SMALL, _LARGE = 12, 14
"""Sizes of texts: a part's names are large, what it is and what else is said of it small."""
_LEADING = 1.4
_TIP = 8
"""Length of an arrow's head."""
_LIGHT: Mapping[str | Fate, str] = {
    "page": "#ffffff",
    "box": "#f6f8fa",
    "line": "#57606a",
    "text": "#1f2328",
    Fate.CREATED: "#1a7f37",
    Fate.UPDATED: "#9a6700",
    Fate.RECREATED: "#bc4c00",
    Fate.REPLACED: "#8250df",
    Fate.DELETED: "#cf222e",
}
_DARK: Mapping[str | Fate, str] = {
    "page": "#0d1117",
    "box": "#161b22",
    "line": "#9198a1",
    "text": "#f0f6fc",
    Fate.CREATED: "#3fb950",
    Fate.UPDATED: "#d29922",
    Fate.RECREATED: "#db6d28",
    Fate.REPLACED: "#ab7df8",
    Fate.DELETED: "#f85149",
}
_DASHES = {Fate.CREATED: "none", Fate.UPDATED: "14 3", Fate.RECREATED: "2 3", Fate.REPLACED: "9 4", Fate.DELETED: "5 5"}
_STROKE = {Fate.CREATED: 3, Fate.UPDATED: 3, Fate.RECREATED: 4, Fate.REPLACED: 4, Fate.DELETED: 3}
"""What tells the fates apart without colours, beside their names in the parts."""


def svg(picture: Picture) -> str:
    """The picture, at most `WIDTH_PIXELS` wide: one XML document that loads nothing and runs nothing."""
    picture = grouped(picture, _ABREAST)
    boxes = {part.key: _Box.of(part) for part in picture.parts}
    found = placed(picture, {key: box.wide for key, box in boxes.items()}, WIDTH_PIXELS - 2 * _MARGIN, _GAP)
    drawing = _Drawing(picture, boxes, found)
    root = drawing.drawn()
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


@dataclass(frozen=True)
class _Box:
    """A part with its texts in lines, and the size that they need."""

    part: PlanPart
    lines: tuple[tuple[str, int], ...]
    wide: float
    high: float

    @classmethod
    def of(cls, part: PlanPart) -> "_Box":
        said = [
            (part.title, _SMALL),
            *((name, _LARGE) for name in part.listed),
            *((one, _SMALL) for one in part.details),
        ]
        lines = tuple((line, size) for text, size in said for line in wrapped(text, size, _LINE_PIXELS, _LINES))
        wide = max(width(line, size) for line, size in lines) + 2 * _PADDING
        return cls(part, lines, wide, sum(size * _LEADING for _, size in lines) + 2 * _PADDING)

    def drawn(self, middle: float, top: float) -> ET.Element:
        group = ET.Element("g")
        ET.SubElement(group, "title").text = shown(f"{self.part.title}: {', '.join(self.part.names)}")
        round_ = self.high / 2 if self.part.rank is Rank.ORIGIN else 6
        place = {"x": middle - self.wide / 2, "y": top, "width": self.wide, "height": self.high, "rx": min(round_, 26)}
        ET.SubElement(group, "rect", {"class": _classes("box", self.part.fate), **_numbers(place)})
        base = top + _PADDING
        for line, size in self.lines:
            base += size * _LEADING
            at = _numbers({"x": middle, "y": base - size * (_LEADING - 1), "font-size": size})
            ET.SubElement(group, "text", {"text-anchor": "middle", **at}).text = line
        return group


@dataclass(frozen=True)
class _Drawing:
    picture: Picture
    boxes: Mapping[str, _Box]
    found: Rows

    def drawn(self) -> ET.Element:
        tops, bottom = self._tops()
        edges = [
            (self.found.middles[spot] - spot.width / 2, self.found.middles[spot] + spot.width / 2)
            for row in self.found.rows
            for spot in row
        ]
        left, right = min((one for one, _ in edges), default=0), max((one for _, one in edges), default=0)
        legend, of_legend = self._legend(bottom)
        title = wrapped(self.picture.title, _LARGE, WIDTH_PIXELS - 2 * _MARGIN, 1)[0]
        wide = max(right - left, of_legend, width(title, _LARGE)) + 2 * _MARGIN
        high = bottom + _MARGIN + (_BETWEEN_ROWS if legend else 0)
        size = {"width": _number(wide), "height": _number(high), "viewBox": f"0 0 {_number(wide)} {_number(high)}"}
        names = {"role": "img", "aria-labelledby": "title description"}
        root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **names})
        ET.SubElement(root, "title", {"id": "title"}).text = shown(self.picture.title)
        ET.SubElement(root, "desc", {"id": "description"}).text = shown(self.picture.described)
        ET.SubElement(root, "style").text = _style()
        ET.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%"})
        if title:
            at = _numbers({"x": _MARGIN, "y": _MARGIN + _LARGE, "font-size": _LARGE})
            ET.SubElement(root, "text", at).text = title
        shift = (wide - right - left) / 2
        moved = ET.SubElement(root, "g", {"transform": f"translate({_number(shift)} 0)"})
        moved.extend(
            [element for lead, way in self.found.ways.items() for element in self._lead(way, tops, digest=lead.digest)]
        )
        moved.extend(
            [
                self.boxes[spot.key].drawn(self.found.middles[spot], tops[spot.row])
                for row in self.found.rows
                for spot in row
                if not spot.passes
            ]
        )
        root.extend(legend)
        return root

    def _tops(self) -> tuple[list[float], float]:
        """Where each row begins, and where the last one ends."""
        at = float(_MARGIN + (_LARGE * 2 if self.picture.title else 0))
        tops = list[float]()
        for row in self.found.rows:
            tops.append(at)
            at += self._height(row) + _BETWEEN_ROWS
        return tops, at - (_BETWEEN_ROWS if tops else 0)

    def _height(self, row: list[Spot]) -> float:
        return max(self.boxes[spot.key].high for spot in row if not spot.passes)

    def _lead(self, way: list[Spot], tops: list[float], *, digest: bool) -> Iterator[ET.Element]:
        middles = self.found.middles
        path = ""
        for upper, lower in pairwise(way):
            x, y = middles[upper], tops[upper.row] + self._height(self.found.rows[upper.row])
            if not upper.passes and not path:
                y = tops[upper.row] + self.boxes[upper.key].high
                path = f"M{_number(x)} {_number(y)}"
            to, end = middles[lower], tops[lower.row] - (0 if lower.passes else _TIP)
            half = (tops[lower.row] - _BETWEEN_ROWS / 2, tops[lower.row] - _BETWEEN_ROWS / 2)
            path += f" L{_number(x)} {_number(tops[lower.row] - _BETWEEN_ROWS)}"
            path += f" C{_number(x)} {_number(half[0])} {_number(to)} {_number(half[1])} {_number(to)} {_number(end)}"
        yield ET.Element("path", {"class": "lead digest" if digest else "lead", "d": path})
        last = way[-1]
        x, y, side = middles[last], tops[last.row], _TIP * 0.6
        corners = ((x, y), (x - side, y - _TIP), (x + side, y - _TIP))
        yield ET.Element(
            "polygon", {"class": "tip", "points": " ".join(f"{_number(a)},{_number(b)}" for a, b in corners)}
        )

    def _legend(self, bottom: float) -> tuple[list[ET.Element], float]:
        """What the marks mean, and how wide that is."""
        found: list[ET.Element] = []
        x, y = float(_MARGIN), bottom + _BETWEEN_ROWS - _SMALL / 2
        for fate in self.picture.fates:
            swatch = _numbers({"x": x, "y": y - _SMALL + 1, "width": 26, "height": _SMALL, "rx": 3})
            found.append(ET.Element("rect", {"class": _classes("box", fate), **swatch}))
            text = ET.Element("text", _numbers({"x": x + 34, "y": y, "font-size": _SMALL}))
            text.text = fate.value
            found.append(text)
            x += 34 + width(fate.value, _SMALL) + 24
        return found, x - _MARGIN - (24 if found else 0)


def _style() -> str:
    """Colours for light and, in a reader's dark mode, for dark; the page is drawn too, as an image knows not its own.

    No variables: what draws SVG outside of browsers (librsvg 2.60) does not know them.
    """
    dashes = "\n".join(
        f".{_name(fate)} {{ stroke-width: {_STROKE[fate]}; stroke-dasharray: {dash} }}"
        for fate, dash in _DASHES.items()
    )
    return f"""
text {{ font-family: Verdana, "DejaVu Sans", Geneva, sans-serif }}
.lead {{ fill: none; stroke-width: 1.5 }}
.digest {{ stroke-width: 3.5 }}
.box {{ stroke-width: 1.5 }}
{dashes}
{_colours(_LIGHT)}
@media (prefers-color-scheme: dark) {{
{_colours(_DARK)}
}}
"""


def _colours(colours: Mapping[str | Fate, str]) -> str:
    of_fates = [f".{_name(fate)} {{ stroke: {colours[fate]} }}" for fate in Fate]
    return "\n".join(
        [
            f".page {{ fill: {colours['page']} }}",
            f"text {{ fill: {colours['text']} }}",
            f".box {{ fill: {colours['box']}; stroke: {colours['line']} }}",
            f".lead {{ stroke: {colours['line']} }}",
            f".tip {{ fill: {colours['line']} }}",
            *of_fates,
        ]
    )


def _classes(first: str, fate: Fate | None) -> str:
    return f"{first} {_name(fate)}" if fate else first


def _name(fate: Fate) -> str:
    return fate.value.replace(" ", "-")


def _numbers(attributes: Mapping[str, float]) -> dict[str, str]:
    return {name: _number(value) for name, value in attributes.items()}


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
