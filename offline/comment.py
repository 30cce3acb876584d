"""A difference as text: on a terminal, and as the comment on a pull request that a reviewer may approve by.

The comment begins with the verdict; then come the policy's word, one row for each model, pool and component, the most
dangerous first, and the cost. What is folded away is never dangerous, and what GitHub would cut off is told to be left
out. GitHub takes 65,536 characters, `details`, `summary`, `abbr` with a title and `br`, and neither styles nor scripts
(html-pipeline's SanitizationFilter); the plan may be of somebody else's branch, so what it says stands as code.
"""

import json
import re
from collections.abc import Iterable, Sequence, Sized
from typing import Any

from oci_model_serving import foreign
from offline.changes import Told, told
from offline.diff import MISSING, Change, PlanDiff, ResourceChange
from offline.mermaid import mermaid
from offline.picture import Rank, parts_of, picture_of
from offline.predicted import spans
from offline.subjects import Effect, Subject, fates
from offline.svg import svg
from offline.table import short_type
from offline.verdict import Policy, Verdict, cost_change

_MOST_CHARACTERS = 60_000
"""Of a comment. GitHub refuses more than 65,536; whoever posts it makes what could be mark-up longer."""
_PICTURE_CHARACTERS = 45_000
"""Of a picture: mermaid draws none of more than 50,000 (`maxTextSize`)."""
_ROWS = 12
"""So many rows stand open; of more, those that are not dangerous are folded from the bottom."""
_PIECES = 6
_CELL_CHARACTERS, _RUN_CHARACTERS = 160, 34
"""Of a value in a table, and of what in it no browser breaks: five columns of these are as wide as GitHub's page."""
_BREAK = re.compile(r"(?<=[/-])(?=[A-Za-z])")
"""Where browsers break a word at the latest (Unicode's line breaking, classes HY and SY)."""
_VALUE_CHARACTERS = 1000
_MESSAGES = 20
_DIGEST = re.compile(r"(sha256[:-])([0-9a-f]{12})[0-9a-f]{52}|\b([0-9a-f]{12})[0-9a-f]{28}\b")
_FULL_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")
_STOPS = "recreates the nodes: models on them stop"
_LAST = (
    "An in-process plan: what the settings and the code say, not what the cloud has; secrets are not compared. "
    "Times and cost are predicted, not measured"
)


def marker(stack: str) -> str:
    """The hidden first line by which a bot finds its comment about this stack again."""
    return f"<!-- oci-model-serving plan {stack} -->"


def as_text(diff: PlanDiff, policy: Policy | None = None) -> str:
    """The difference for a terminal."""
    if not diff:
        return foreign.lines("\n".join(["No differences.", *diff.predictions.lines(), ""]))
    signs = {"create": "+", "delete": "-", "update": "~", "replace": "+-"}
    lines = [f"{Verdict(diff, policy).sentence()}", ""]
    for change in diff.resources:
        lines.append(f"{signs[change.action]:2} {short_type(change.type)} {change.name}  ({change.action})")
        lines += map(_line, change.changes)
    if diff.outputs:
        lines += ["outputs", *map(_line, diff.outputs)]
    return foreign.lines("\n".join([*lines, *diff.predictions.lines(), _summary(diff), ""]))


def as_markdown(diff: PlanDiff, stack: str, policy: Policy | None = None) -> str:
    """The difference as a comment on a pull request, at most as long as GitHub takes."""
    verdict = Verdict(diff, policy)
    other = diff.base.get("stack")
    against = f" against {_code(other)}" if other and other != diff.head.get("stack", other) else ""
    title = f"### {_code(stack)}{against}: {verdict.sentence(_code)}"
    head = [marker(stack), title, "", *_policy(policy), *_warnings(diff)]
    if not diff:
        # The comment of a stack that does not change is told by this line (.github/workflows/comment.yml).
        return "\n".join([*head, "No differences.", *_predicted(diff), ""])
    described = _Described(diff)
    rows = [(one.effect, _is_dangerous(one, verdict), _row(one, verdict, described)) for one in verdict.subjects]
    last = f"{_LAST}{_priced(diff)}."
    kept = _table(rows, _MOST_CHARACTERS - sum(map(len, head)) - 4000)
    body = [*kept, *_cost(diff, is_new=verdict.is_new), ""]
    room = _MOST_CHARACTERS - sum(len(line) + 1 for line in (*head, *body, last))
    folded: list[str] = []
    for title, lines in (("Picture", _picture(diff)), ("Predicted", _predicted(diff)[1:])):
        size = sum(len(line) + 1 for line in lines) + 100
        if lines and size < min(room, _PICTURE_CHARACTERS):
            folded += [*_folded(title, lines), ""]
            room -= size
    details = list(_details(diff))
    if details:
        title = f"Every resource that changes, in the engine's words: {_summary(diff)}"
        folded += [*_folded(title, _within(details, room - 300)), ""]
    return "\n".join([*head, *body, *folded, last, ""])


def as_picture(diff: PlanDiff, form: str) -> str:
    """The picture of what comes out, and of what goes, with what becomes of each component; `mermaid` or `svg`."""
    picture = picture_of(diff.head, diff.base or None, fates(diff))
    return mermaid(picture) if form == "mermaid" else svg(picture)


def _policy(policy: Policy | None) -> list[str]:
    if policy is None:
        return []
    if policy.mandatory:
        return ["**Policy: refused.**", "", *_bullets(policy.mandatory)]
    advice = f", with {_count(policy.advisory, 'note')}" if policy.advisory else ""
    return [f"**Policy:** passed{advice}.{' New:' if policy.new else ''}", "", *_bullets(policy.new)]


def _warnings(diff: PlanDiff) -> list[str]:
    """What the program warns of now and did not before."""
    before, after = (side.get("warnings", ()) for side in (diff.base, diff.head))
    known = [one for one in (after if isinstance(after, list) else ()) if isinstance(one, str)]
    new = [one for one in known if one not in (before if isinstance(before, list) else ())]
    return ["**New warnings:**", "", *_bullets(new)] if new else []


def _bullets(messages: Sequence[str]) -> list[str]:
    if not messages:
        return []
    more = len(messages) - _MESSAGES
    shown = [f"- {_code(message, 500)}" for message in messages[:_MESSAGES]]
    return [*shown, *([f"- and {more} more"] if more > 0 else []), ""]


def _row(one: Subject, verdict: Verdict, described: "_Described") -> str:
    diff = verdict.diff
    pieces = list(dict.fromkeys(_piece(item) for item in told(one, diff)))  # two charts of one version are one piece
    more = len(pieces) - _PIECES
    if more > 1:
        pieces = [*pieces[:_PIECES], f"and {more} more, below"]
    if one.effect is Effect.CREATED:
        pieces = [_cell(detail) for detail in described.of(one)]
    stop, stops = verdict.stops.get(one.name) if one.kind == "model" else None, ""
    if stop:
        stops = f"**{_plain(stop.text)}**" if stop.stops else _plain(stop.text)
    word = f"**{one.effect.value}**" if one.effect.dangerous else one.effect.value
    cells = (
        word,
        f"{_plain(one.kind)} {_cell(one.name)}",
        "<br/>".join(pieces),
        stops,
        _start(one, diff),
    )
    return f"| {' | '.join(cells)} |"


class _Described:
    """What new subjects are, as the picture says it of components and of what images are made of."""

    def __init__(self, diff: PlanDiff) -> None:
        self._parts, leads = parts_of(diff.head)
        self._origins: dict[str, list[str]] = {}
        for lead in leads:
            part = self._parts.get(lead.source)
            if part and part.rank is Rank.ORIGIN:
                self._origins.setdefault(lead.target, []).append(" ".join((part.kind, part.names[0], *part.details)))

    def of(self, one: Subject) -> list[str]:
        """What one of them is, in few words each."""
        labels = [f"{item.type}::{item.name}" for item in one.resources]
        found = [origin for label in labels for origin in self._origins.get(label, ())]
        found += [detail for label in labels if label in self._parts for detail in self._parts[label].details]
        return list(dict.fromkeys(found))


def _start(one: Subject, diff: PlanDiff) -> str:
    if one.kind != "model" or one.effect is Effect.DELETED:
        return ""
    before, after = (spans(*start.total) if start else "" for start in diff.predictions.starts(one.name))
    if not after and diff.predictions.costs()[1]:  # of a stack on Google's nodes
        return "not known"
    return f"{before} → {after}" if before and after and before != after else after


def _piece(item: Told) -> str:
    if item.in_words:
        return _plain(item.name)
    does = f", {item.does}" if item.does else ""
    return f"{_cell(item.name)}: {_value(item.before)} → {_value(item.after)}{does}"


def _is_dangerous(one: Subject, verdict: Verdict) -> bool:
    stop = verdict.stops.get(one.name) if one.kind == "model" else None
    return one.effect.dangerous or (stop is not None and stop.stops)


def _table(rows: Sequence[tuple[Effect, bool, str]], room: int) -> list[str]:
    """The rows, the last of which are folded where there are many: never one that is dangerous."""
    if not rows:
        return []
    title = ["| | what | changes | stops | cold start |", "|---|---|---|---|---|"]
    last = max((at for at, (_, dangerous, _) in enumerate(rows, 1) if dangerous), default=0)
    open_ = max(last, min(len(rows), _ROWS))
    if len(rows) - open_ <= 2:  # a fold of two rows saves nothing
        open_ = len(rows)
    shown = _within([row for _, _, row in rows[:open_]], room, row=True)
    room -= sum(map(len, shown))
    lines = [*title, *shown]
    if open_ < len(rows):
        effects = dict.fromkeys(effect.value for effect, _, _ in rows[open_:])
        folded = [*title, *_within([row for _, _, row in rows[open_:]], room, row=True)]
        lines += ["", *_folded(f"{len(rows) - open_} more: {', '.join(effects)}", folded)]
    return lines


def _cost(diff: PlanDiff, *, is_new: bool) -> list[str]:
    changed = cost_change(*diff.predictions.costs(), is_new=is_new)
    rows = [(what, old, new) for what, old, new in diff.predictions.rows() if what.startswith("cost")]
    if not rows or not changed:
        return []
    told = [
        f"{new} {what.removeprefix('cost an hour ')}{f' (was {old})' if old not in {new, '-'} else ''}"
        for what, old, new in rows
    ]
    return ["", f"**Cost an hour:** {_plain(', '.join(told))}."]


def _predicted(diff: PlanDiff) -> list[str]:
    """All that is predicted, before and after; nothing where nothing is."""
    rows = [
        f"| {_plain(what)} | {_plain(old)} | {_plain(new) if new != old else '='} |"
        for what, old, new in diff.predictions.rows()
    ]
    return ["", "| predicted | before | after |", "|---|---|---|", *rows] if rows else []


def _priced(diff: PlanDiff) -> str:
    _, cost = diff.predictions.costs()
    return f"; cost by {_code(cost.source, 200)}" if cost and cost.source else ""


def _picture(diff: PlanDiff) -> list[str]:
    return ["```mermaid", *as_picture(diff, "mermaid").rstrip("\n").split("\n"), "```"]


def _details(diff: PlanDiff) -> Iterable[str]:
    """Each input that changes, as lists, which wrap where a table would have to be scrolled."""
    for one in sorted(diff.resources, key=_danger):
        yield f"- {one.action}: {_code(f'{short_type(one.type)} {one.name}', 300)}"
        yield from (f"  - {_change(change)}" for change in one.changes)
    if diff.outputs:
        yield "- outputs"
        yield from (f"  - {_change(change)}" for change in diff.outputs)


def _danger(one: ResourceChange) -> int:
    return ("replace", "delete", "update", "create").index(one.action)


def _change(change: Change) -> str:
    why = " **replaces it**" if change.replaces else f" **{_STOPS}**" if change.recreates_nodes else ""
    before, after = (_value(side, _VALUE_CHARACTERS) for side in (change.before, change.after))
    return f"{_code(change.path, 300)}: {before} → {after}{why}"


def _within(lines: Sequence[str], room: int, *, row: bool = False) -> list[str]:
    """As many of the lines as there is room for, and how many are left out."""
    size, kept = 0, list[str]()
    for line in lines:
        size += len(line) + 1
        if size > room:
            more = f"{len(lines) - len(kept)} more, left out here: `oms diff` has all"
            return [*kept, f"| | {more} | | | |" if row else f"- {more}"]
        kept.append(line)
    return kept


def _folded(title: str, lines: Iterable[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _count(found: Sized, what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _line(change: Change) -> str:
    why = "  (forces replacement)" if change.replaces else f"  ({_STOPS})" if change.recreates_nodes else ""
    return f"     {change.path}: {_words(change.before)} -> {_words(change.after)}{why}"


def _summary(diff: PlanDiff) -> str:
    said = [f"{count} to {action}" for action, count in diff.counts().items() if count]
    if diff.outputs:
        said.append(f"{_count(diff.outputs, 'output value')} changed")
    if diff.promoted:
        said.append(f"{_count(diff.promoted, 'image')} that another stack makes anew")
    return ", ".join(said)


def _words(value: Any) -> str:
    """A value as JSON has it, but for texts, which stand as they are."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _value(value: Any, length: int = 0) -> str:
    """A value of a plan, its digests shortened, with the whole of them as title."""
    if value is MISSING:
        return "not set"
    text = _words(value)
    whole = " ".join(dict.fromkeys(found.replace("-", ":") for found in _FULL_DIGEST.findall(text)))
    short = _DIGEST.sub(lambda found: f"{found[1] or ''}{found[2] or found[3]}", text)
    code = _code(short, length) if length else _cell(short)
    return f'<abbr title="{whole}">{code}</abbr>' if whole and len(whole) < 800 else code


def _code(value: Any, length: int = 300) -> str:
    """A text as code, which no mark-up leaves."""
    text = foreign.in_line(str(value), length)
    # GitHub takes two backslashes for one that is meant, and a bar behind them for the end of the cell.
    text = re.sub(r"\\(?=\|)", r"\\ ", text).replace("|", "\\|").replace("`", "'")
    return f"`{text}`" if text.strip() else ""


def _cell(value: Any) -> str:
    """A text as code in a table, without the middle of what would make it wider than the page."""
    words = foreign.in_line(str(value), _CELL_CHARACTERS).split(" ")
    narrow = (word if max(map(len, _BREAK.split(word))) <= _RUN_CHARACTERS else _cut(word) for word in words)
    return _code(" ".join(narrow))


def _cut(word: str) -> str:
    return foreign.in_line(word, _RUN_CHARACTERS)


_MARKS = str.maketrans(
    {
        "\\": "\\\\",
        "|": "\\|",
        "`": "'",
        "<": "&lt;",
        ">": "&gt;",
        "[": "\\[",
        "*": "\\*",
        "_": "\\_",
        "~": "\\~",
        "@": "&#64;",
    }
)


def _plain(text: str) -> str:
    """A text without marks of its own."""
    return foreign.in_line(text, 500).translate(_MARKS)
