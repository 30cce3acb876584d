"""Whatever prints words of others prints none that a terminal would obey, and none as mark-up."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelimage.progress import Bars, Lines
from offline.comment import as_markdown, as_text
from offline.diff import compare
from offline.mermaid import mermaid
from offline.picture import picture_of
from offline.svg import svg
from offline.verdict import Policy
from oms import convention, image
from smoke.checks import Check, Status
from smoke.report import Report
from watch.causes import Cause

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e\r[red]x[/red]"


def obeys(text: str) -> bool:
    return not text.replace("\n", "").isprintable()


def test_what_is_told_beside_results_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    convention.tell(f"error: {HOSTILE}\nand more")
    said = capsys.readouterr().err
    assert not obeys(said)
    assert "[red]x[/red]\nand more\n" in said


def test_what_an_image_says_of_itself_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    image._show(
        {
            "reference": HOSTILE,
            "files": [{"path": HOSTILE, "size_bytes": 1}],
            "annotations": {HOSTILE: HOSTILE},
            "notes": [HOSTILE],
            "referrers": [{"digest": "d", "artifact_type": HOSTILE, "tag": ""}],
        }
    )
    assert not obeys(capsys.readouterr().out)


def test_a_packers_notes_and_titles_are_cleaned() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.note(HOSTILE)
    lines.started(HOSTILE, 10)
    lines.finished(HOSTILE, "pushed")
    assert not obeys(stream.getvalue())
    assert "[red]x[/red]" in stream.getvalue()


def test_bars_take_no_marks_from_a_files_name(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.started("[/nothing-that-was-opened]", 10)
        bars.note("[/nothing-that-was-opened]")
    assert "[/nothing-that-was-opened]" in capsys.readouterr().err


def test_a_report_of_checks_is_cleaned() -> None:
    out, err = io.StringIO(), io.StringIO()
    report = Report(out, err, quiet=False)
    report.check(
        Check("deployed", "ready", Status.FAIL, HOSTILE, HOSTILE, HOSTILE, (Cause("c", HOSTILE, f"{HOSTILE}."),))
    )
    report.tell(HOSTILE)
    report.closing([Check("deployed", "ready", Status.SKIP, "", model=HOSTILE)])
    assert not obeys(out.getvalue() + err.getvalue())
    assert "[red]x[/red]" in out.getvalue()


def resource(**changes: Any) -> dict[str, Any]:
    return {"type": "kubernetes:core/v1:Secret", "name": "n", "parent": None, "inputs": {}, **changes}


def test_a_comment_holds_no_marks_but_its_own() -> None:
    evil = f"`|<img src=x>@all ```\n## Approved\n{HOSTILE}"
    before: dict[str, Any] = {"resources": [], "outputs": {}}
    after = {
        "resources": [
            resource(),
            resource(type=f"a:b:{evil}", name=evil, inputs={evil: evil}),
            resource(name="child", parent=f"a:b:{evil}::{evil}"),
            resource(type="oci-model-serving:index:InferenceService", name=evil),
            resource(type="oci-model-serving:index:GpuNodePool", name=f"{evil}\\|"),
        ],
        "outputs": {evil: evil, "models": {evil: {"image": evil, "delivery": evil, "node_pool": evil}}},
        "stack": evil,
        "warnings": [evil],
        "predictions": {
            "models": {evil: {"cold_start": {"total": [1, 2], "limiting": {"stage": evil, "bound": evil}}}},
            "cost": {"at_min": [1, 2], "source": evil},
        },
    }
    text = as_markdown(compare(before, after), "dev", Policy([evil], [evil], [evil]))
    assert not obeys(text)
    assert text.splitlines()[1].startswith("### `dev`: the policy refuses it; a new stack: ")
    assert "\n## Approved" not in text
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert "<img" not in outside, "only as code, which is shown and not obeyed"
    assert "@all" not in outside
    assert text.count("```") == 2, "the picture's block is opened and ended once"
    rows = [line for line in text.splitlines() if line.startswith(("| create", "| output"))]
    assert rows
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
    assert not obeys(as_text(compare(before, after)))
    changed = {**after, "outputs": {"models": {evil: {"paused": True, "node_pool": evil, "digest": evil}}}}
    text = as_markdown(compare({**after, "stack": "x"}, changed), "dev", Policy())
    assert not obeys(text)
    assert "\n## Approved" not in text


def test_a_backslash_before_a_bar_ends_no_cell_of_githubs() -> None:
    """cmark-gfm reads two backslashes as one that is meant, whatever follows."""
    before, after = ({"resources": [resource(inputs={"x": side})], "outputs": {}} for side in ("a", "b\\|c\\\\|d"))
    (row,) = [line for line in as_markdown(compare(before, after), "dev").splitlines() if line.startswith("| updated")]
    assert len(re.findall(r"(?:\\.|[^|\\])*\|", row)) == 6


def test_a_picture_is_not_left_by_a_name() -> None:
    resource: dict[str, Any] = {"type": "a:b:T", "name": '"]\n```\x1b', "parent": None, "inputs": {}}
    picture = picture_of({"resources": [resource], "outputs": {}})
    assert '  p0["a:b:T<br/>#34;]\\n#96;#96;#96;\\x1b"]' in mermaid(picture).splitlines()
    assert not obeys(svg(picture))


def test_a_plan_whose_predictions_have_another_form_is_none(tmp_path: Path) -> None:
    from oci_model_serving.errors import InputError
    from offline.plan import load

    forged: list[Any] = [[], {"models": []}, {"models": {"m": {"cold_start": {"total": [1]}}}}, {"cost": {"at_min": 7}}]
    for predictions in forged:
        path = tmp_path / "plan.json"
        path.write_text(json.dumps({"resources": [], "outputs": {}, "predictions": predictions}))
        with pytest.raises(InputError, match="is not a plan"):
            load(path)
