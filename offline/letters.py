"""How wide a text is when it is drawn, and where its lines end: a picture is made without a browser or a font."""

import re

from oci_model_serving.foreign import shown

_BY_WIDTH = {
    275: "'",
    278: "ijl",
    295: "IJ",
    318: " ,.·",
    337: "/:;\\|",
    352: "f",
    361: "-",
    390: "()[]",
    392: "t",
    401: "!",
    411: "r",
    460: '"',
    500: "*_`",
    521: "s",
    525: "z",
    531: "?",
    550: "c",
    557: "L",
    575: "F",
    579: "k",
    592: "vxy",
    603: "P",
    611: "TY",
    612: "o",
    613: "a",
    615: "e",
    632: "E",
    634: "hnu",
    635: "Sbdgpq",
    636: "$0123456789{}",
    656: "K",
    684: "AV",
    685: "XZ",
    686: "B",
    695: "R",
    698: "C",
    732: "U",
    748: "N",
    752: "H",
    770: "D",
    775: "G",
    780: "&",
    787: "OQ",
    818: "w",
    838: "#+<=>^~",
    863: "M",
    950: "%",
    974: "m",
    989: "W",
    1000: "@…",
}
"""Thousandths of the font's size that each character takes in DejaVu Sans 2.37 (its table `hmtx`).

It is the widest of the fonts that a page without its own is drawn in: Verdana is as wide, Arial, Helvetica, Segoe,
Roboto and Trebuchet are narrower, so what fits here fits there.
"""
_WIDTHS = {letter: width for width, letters in _BY_WIDTH.items() for letter in letters}
_WIDEST = 1450
"""Of every other character: none of DejaVu Sans below U+0600 is wider, and one of Chinese or Japanese takes 1000."""
_BREAKS = re.compile(r"(?<=[\s/@:,_-])(?=\S)")


def width(text: str, size: float) -> float:
    """How many pixels a text takes at most, in a font of `size` pixels."""
    return sum(_WIDTHS.get(letter, _WIDEST) for letter in text) * size / 1000


def wrapped(text: str, size: float, most: float, lines: int) -> list[str]:
    """The text in at most so many `lines`, each of `most` pixels.

    Lines end after a space or a mark of names (`/`, `@`, `-` …), a longer word wherever it must; what does not fit
    is left out, and the last line then ends with `…`.
    """
    found = [""]
    for word in _BREAKS.split(shown(text).strip()):
        if width((found[-1] + word).rstrip(), size) <= most:
            found[-1] += word
            continue
        if found[-1]:
            found.append("")
        for letter in word:
            if width(found[-1] + letter, size) > most:
                found.append("")
            found[-1] += letter
        if len(found) > lines:
            break
    kept = [line.rstrip() for line in found]
    if len(kept) > lines:
        last = kept[lines - 1]
        while last and width(last + "…", size) > most:
            last = last[:-1]
        kept = [*kept[: lines - 1], last + "…"]
    return kept
