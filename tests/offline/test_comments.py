"""The comments on typical changes: as they are committed, and as a reviewer sees them."""

import json
import re
from pathlib import Path

import pytest

from oci_model_serving.reference import DIGEST
from offline.comment import as_markdown
from offline.diff import compare
from tests import browser
from tests.offline import github, typical_changes

NAMES = tuple(typical_changes.CHANGES)


def without_picture(comment: str) -> str:
    return re.sub(r"```mermaid\n.*?```", "", comment, flags=re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_the_comment_is_the_one_that_is_committed(name: str) -> None:
    assert typical_changes.comment(name) == typical_changes.path(name).read_text(encoding="utf-8"), (
        "the comment has changed: look at the difference; if it is what you want, `make plans` and commit it"
    )


def test_no_comment_is_committed_that_no_change_makes() -> None:
    assert {file.stem for file in typical_changes.FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_comment_has_its_verdict_first_and_no_word_of_python(name: str) -> None:
    text = without_picture(typical_changes.comment(name))
    lines = text.splitlines()
    assert re.fullmatch(r"### `(dev|prod)`: .+[;:] .+/h( at max)?", lines[1])
    assert lines[3].startswith("**Policy:** passed")
    outside = re.sub(r"title=\"[^\"]*\"", "", text)
    assert not re.search(r"\b(None|True|False)\b|\{'|\['|\[\d+\]\.name", outside)
    assert not DIGEST.search(outside), "a digest is shortened, with the whole of it as title"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_and_a_pool_have_one_row_each(name: str) -> None:
    rows = re.findall(r"^\| \S.*? \| (\w[\w ]*? `[^`]+`) \|", typical_changes.comment(name), re.MULTILINE)
    assert rows
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("new_digest", "1 model rolls out to a new digest; nothing is replaced or deleted; +$0.00/h"),
        ("gpu_type", "pool `l4` is replaced; model `qwen2.5-0.5b-instruct` stops for 7.2 to 12 min; -$0.12/h at min"),
        ("machine", "the nodes of pool `l4` are recreated; model `qwen2.5-0.5b-instruct` stops for 7.2 to 12 min; +$"),
        ("model_removed", "model `smollm2` is deleted; -$"),
        ("new_stack", "a new stack: 1 cluster, 1 registry, 1 pool, 1 platform, 1 allow list and 1 model; +$"),
        ("env_and_server", "1 model rolls out and stops for 4.0 min; platform `kserve` is updated; nothing is repla"),
    ],
)
def test_the_verdict_says_the_worst_first_and_what_it_costs(name: str, verdict: str) -> None:
    title = typical_changes.comment(name).splitlines()[1]
    assert title.partition(": ")[2].startswith(verdict)


_MEASURE = """
const wide = [];
for (const comment of document.querySelectorAll('.comment')) {
  for (const one of [comment, ...comment.querySelectorAll('*:not(svg *)')])
    if (one.closest('.picture') === null && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
        && getComputedStyle(one).display !== 'inline')
      wide.push([comment.id, one.tagName, one.scrollWidth, one.clientWidth, one.textContent.slice(0, 80)]);
  const right = comment.getBoundingClientRect().right;
  for (const one of comment.querySelectorAll('code, td, summary, li, p, h3'))
    for (const box of one.getClientRects())
      if (one.closest('.picture') === null && box.right > right + 1)
        wide.push([comment.id, one.tagName, box.right, right, one.textContent.slice(0, 80)]);
}
return {wide, comments: document.querySelectorAll('.comment').length,
        details: document.querySelectorAll('details[open]').length, page: document.documentElement.scrollWidth};
"""


LONG = "Meta_Llama_3.1_405B_Instruct_FP8_dynamic_w8a8_tp8"
"""A name of which a browser breaks nothing."""
ARGUMENTS = [
    '--model-loader-extra-config={"concurrency":16,"memory_limit":100000000000,"pattern":"a_b_c_d_e_f_g_h"}',
    "--chat-template=/mnt/models/a_very_long_file_name_of_a_template_that_nobody_can_break_anywhere.jinja",
    f"--served-model-name={LONG}_{LONG}",
]


def widest() -> str:
    """A comment with the longest of all: a name, digests, arguments and addresses that cannot be broken."""
    changes = {"models__qwen__digest": typical_changes.image("b"), "models__qwen__args": ARGUMENTS[:2]}
    plans = (typical_changes.STACK, typical_changes.changed(**changes, nodePools__l4__accelerator="nvidia-tesla-t4"))
    before, after = (
        json.loads(
            json.dumps(typical_changes.plan("prod", settings))
            .replace("qwen2.5-0.5b-instruct", LONG)
            .replace("us-central1-docker.pkg.dev", "registry_of_models.example.com:5000")
            .replace('::l4"', '::pool_of_eight_h100s_in_one_zone_1"')
            .replace('"l4"', '"pool_of_eight_h100s_in_one_zone_1"')
        )
        for settings in plans
    )
    after["outputs"]["models"][LONG]["url"] = f"http://{LONG}.{LONG}.example.com"
    return as_markdown(compare(before, after), "prod")


def page() -> str:
    """All comments below each other, with all that is folded open; how pictures are drawn is told in `test_picture`."""
    shown = []
    for name, text in {**{name: typical_changes.comment(name) for name in NAMES}, "widest": widest()}.items():
        html = github.rendered(text).replace("<details>", "<details open>")
        html = re.sub(r'<pre><code class="language-mermaid">.*?</code></pre>', "", html, flags=re.DOTALL)
        shown.append(f'<div class="comment" id="{name}">{html}</div>')
    return f"<style>{github.STYLE}</style>{''.join(shown)}"


@browser.needs_browser
def test_nothing_is_clipped_or_to_be_scrolled_on_a_page_of_github(tmp_path: Path) -> None:
    said = browser.evaluated(page(), _MEASURE, tmp_path, f"--window-size={github.WIDTH_PIXELS},4000")
    assert said["comments"] == len(NAMES) + 1
    assert said["details"] >= 2 * len(NAMES)
    assert said["wide"] == []
    assert said["page"] <= github.WIDTH_PIXELS


@browser.needs_browser
def test_what_would_be_too_wide_is_found(tmp_path: Path) -> None:
    """The measure of above is one that can fail."""
    table = f"<table><tr><td><code>{'x' * 300}</code></td></tr></table>"
    body = f'<style>{github.STYLE}</style><div class="comment" id="wide">{table}</div>'
    said = browser.evaluated(body, _MEASURE, tmp_path, f"--window-size={github.WIDTH_PIXELS},400")
    assert [one[:2] for one in said["wide"]] != []
    assert json.dumps(said["wide"]).count("TABLE")


@browser.needs_mermaid
def test_the_pictures_in_comments_are_drawn_by_githubs_mermaid(tmp_path: Path) -> None:
    drawn = [re.findall(r"```mermaid\n(.*?)```", typical_changes.comment(name), re.DOTALL) for name in NAMES]
    assert all(len(one) == 1 for one in drawn)
    script = f"""
      mermaid.initialize({{startOnLoad: false}});
      const failed = [];
      for (const [at, text] of {json.dumps([one[0] for one in drawn])}.entries())
        try {{ await mermaid.parse(text) }} catch (error) {{ failed.push([at, String(error)]) }}
      return {{failed}};
    """
    body = f"<script>{browser.MERMAID.read_text(encoding='utf-8')}</script>"
    assert browser.evaluated(body, script, tmp_path) == {"failed": []}
