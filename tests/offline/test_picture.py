"""The picture of a plan: what is drawn, and what a browser and GitHub's own mermaid make of it."""

import json
import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci_model_serving.foreign import shown
from offline.letters import width, wrapped
from offline.mermaid import mermaid
from offline.picture import Fate, Picture, Rank, grouped, picture_of
from offline.recording import Recording
from offline.svg import WIDTH_PIXELS, svg
from tests import browser, serving
from tests.mocks import plain
from tests.plans import golden

OURS = "oci-model-serving:index:"
COMMIT = "7ae557604adf67be50417f59c2c2f167def9a775"
_SMALLEST_PIXELS = 12
_MERMAIDS_PIXELS = 16


def plan_of(stack: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(golden.path(stack).read_text(encoding="utf-8"))
    return found


def resource(type_: str, name: str, parent: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"type": type_, "name": name, "parent": parent, "inputs": inputs}


def stack_of(models: int, pools: int = 1) -> dict[str, Any]:
    """A plan of models built here, each on the next of the pools."""
    resources = [resource(f"{OURS}Cluster", "cluster"), resource(f"{OURS}ModelRegistry", "models")]
    resources += [resource(f"{OURS}KServe", "kserve"), resource(f"{OURS}AllowList", "kserve-allow-list")]
    resources += [resource(f"{OURS}GpuNodePool", f"pool-{number}") for number in range(pools)]
    described = {}
    for number in range(models):
        name = f"some-model-{number}-instruct"
        line = (
            f"python -m modelimage pack hf://some-org/Some-Model-{number}B-Instruct@{COMMIT} r.example/m/{name} --json"
        )
        resources += [
            resource(f"{OURS}ModelImage", name),
            resource("command:local:Command", f"{name}-build", f"{OURS}ModelImage::{name}", create=line),
            resource(f"{OURS}InferenceService", name),
        ]
        described[name] = {"delivery": "native", "node_pool": f"pool-{number % pools}", "platform": "kserve"}
    return {"resources": resources, "outputs": {"models": described, "registry_url": "r.example/m"}}


def by_name(picture: Picture) -> dict[str, set[str]]:
    """What each part leads to, by kind and names."""
    said = {part.key: f"{part.kind} {', '.join(part.names)}" for part in picture.parts}
    return {
        said[key]: {said[lead.target] for lead in picture.leads if lead.source == key}
        for key in (part.key for part in picture.parts)
    }


def marked() -> Picture:
    """A change with each fate in it, of a stack with one model of them all."""
    before, after = stack_of(2, 2), stack_of(3, 2)
    before["resources"].append(resource(f"{OURS}InferenceService", "gone"))
    before["outputs"]["models"]["gone"] = {"delivery": "native", "node_pool": "pool-1"}
    fates = {
        f"{OURS}InferenceService::gone": Fate.DELETED,
        f"{OURS}InferenceService::some-model-2-instruct": Fate.CREATED,
        f"{OURS}ModelImage::some-model-2-instruct": Fate.CREATED,
        f"{OURS}InferenceService::some-model-0-instruct": Fate.UPDATED,
        f"{OURS}GpuNodePool::pool-0": Fate.RECREATED,
        f"{OURS}GpuNodePool::pool-1": Fate.REPLACED,
    }
    return picture_of(after, before, fates)


def hostile(half: int) -> Picture:
    """Names that somebody else has chosen; no more of a kind than are drawn."""
    names = [
        '"] --> x',
        "end",
        "a`b```",
        "<script>alert(1)</script>",
        "x\n  y --> z",
        "1. list",
        "- list",
        "a_b/_compile-cache",
        "#35;",
    ]
    names += [
        "%% comment",
        "%%{init: {}}%%",
        "click p0 callback",
        "a;b",
        "\u202eabc",
        "]]>",
        "&amp;",
        "ä€中文",
        "x" * 300,
    ]
    names = names[half::2]
    kinds = ("Cluster", "KServe", "InferenceService", "ModelImage", "GpuNodePool", "AllowList")
    found = [resource(f"{OURS}{kind}", name) for kind, name in product(kinds, names)]
    return picture_of({"resources": found, "outputs": {"models": 7, "cluster": {"name": names[0]}}}, title=names[3])


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "dev": lambda: picture_of(plan_of("dev"), title="oci-model-serving dev"),
    "prod": lambda: picture_of(plan_of("prod"), title="oci-model-serving prod"),
    "twelve models": lambda: picture_of(stack_of(12, 3)),
    "forty models": lambda: picture_of(stack_of(40, 9)),
    "a change": marked,
    "names of somebody else's": lambda: hostile(0),
    "more of somebody else's": lambda: hostile(1),
    "nothing": lambda: picture_of({"resources": [], "outputs": {}}),
}


def test_devs_picture_leads_from_the_weights_to_the_cluster_by_its_components() -> None:
    name = "qwen2.5-0.5b-instruct"
    assert by_name(PICTURES["dev"]()) == {
        "weights hf://Qwen/Qwen2.5-0.5B-Instruct": {f"ModelImage {name}"},
        f"ModelImage {name}": {"ModelRegistry models"},
        "ModelRegistry models": {f"InferenceService {name}"},
        "AllowList kserve-allow-list": {"KServe kserve"},
        f"InferenceService {name}": {"KServe kserve"},
        "KServe kserve": {"GpuNodePool l4"},
        "GpuNodePool l4": {"Cluster cluster"},
        "Cluster cluster": set(),
    }


def test_where_an_image_comes_from_is_named_with_its_commit_or_digest_below() -> None:
    (weights,) = [part for part in PICTURES["dev"]().parts if part.rank is Rank.ORIGIN]
    assert (weights.kind, weights.names, weights.details) == (
        "weights",
        ("hf://Qwen/Qwen2.5-0.5B-Instruct",),
        ("7ae557604adf",),
    )
    line = f"python -m modelimage copy r.example/m@sha256:{'a' * 64} mine.example/m"
    command = resource("command:local:Command", "m-copy", f"{OURS}ModelImage::m", create=line)
    plan = {"resources": [resource(f"{OURS}ModelImage", "m"), command], "outputs": {}}
    (image,) = [part for part in picture_of(plan).parts if part.rank is Rank.ORIGIN]
    assert (image.names, image.details) == (("r.example/m",), ("sha256:aaaaaaaaaaaa",))


def test_prods_picture_shows_which_stack_its_images_are_promoted_from() -> None:
    leads = by_name(PICTURES["prod"]())
    images = {"ModelImage qwen2.5-0.5b-instruct", "ModelImage qwen2.5-0.5b-openai"}
    assert leads["another stack acme/oci-model-serving/dev"] == images
    assert all(leads[image] == {"ModelRegistry models"} for image in images)
    assert leads["KubeAIModel qwen2.5-0.5b-openai"] == {"KubeAI kubeai"}


@pytest.fixture(scope="module")
def several() -> Recording:
    """Models of each origin and platform, with an adapter, a compile cache, spare nodes and nodes of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(serving.ROOT)
        there = f"r.example/m@sha256:{'a' * 64}"
        pools = {"l4": {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "maxNodes": 40, "warmNodes": 1}}
        models = {
            "built": {"source": f"hf://o/m@{COMMIT}", "builder": "direct", "nodePool": "l4", "sizeGb": 1},
            "dockers": {"source": f"hf://o/m@{COMMIT}", "builder": "docker", "nodePool": "l4", "sizeGb": 1},
            "copied": {"digest": there, "copy": True, "delivery": "kubeai", "nodePool": "l4", "sizeGb": 1},
            "elsewhere": {"digest": there, "nodePool": "l4", "sizeGb": 1, "adapters": {"law": {"digest": there}}},
        }
        return serving.run(serving.gke(models, nodePools=pools))


def test_every_lead_is_a_dependency_of_the_program(several: Recording) -> None:
    data = {
        "resources": [
            {"type": one.type, "name": one.name, "parent": _label(several, one.parent), "inputs": plain(one.inputs)}
            for one in several.resources
        ],
        "outputs": plain(several.outputs),
    }
    picture = picture_of(data)
    by_label = {_label(several, one.urn): one for one in several.resources}
    held = 0
    for lead in picture.leads:
        source, target = (by_label.get(key) for key in (lead.source, lead.target))
        if source is None or target is None:  # an origin is no resource: it is named where it is taken
            assert lead.source.removeprefix("origin::") in str([plain(one.inputs) for one in several.resources])
            continue
        ranks = [next(part.rank for part in picture.parts if part.key == key) for key in (lead.source, lead.target)]
        if ranks == [Rank.PLATFORM, Rank.POOL]:  # by the label of the nodes that the platform's pods go to
            assert f"'oci-model-serving/pool': '{target.name}'" in str(plain([one.inputs for one in several.resources]))
            continue
        # A digest goes on to what depends on it; all else leads to what it depends on, an image to where it is pushed.
        early, late = (source, target) if lead.digest and ranks[1] is not Rank.REGISTRY else (target, source)
        below = [
            one for one in several.resources if _label(several, _top(several, one.urn)) == _label(several, late.urn)
        ]
        assert any(early.name in serving.after(several, one) for one in below), lead
        held += 1
    assert held > len(picture.leads) / 2


def _label(recording: Recording, urn: str) -> str | None:
    return next((f"{one.type}::{one.name}" for one in recording.resources if one.urn == urn), None)


def _top(recording: Recording, urn: str) -> str:
    parents = {one.urn: one.parent for one in recording.resources}
    while parents.get(urn) in parents:
        urn = parents[urn]
    return urn


def test_an_image_in_a_folder_or_of_another_registry_does_not_come_through_the_stacks(several: Recording) -> None:
    resources = [
        {"type": one.type, "name": one.name, "parent": _label(several, one.parent), "inputs": plain(one.inputs)}
        for one in several.resources
    ]
    leads = by_name(picture_of({"resources": resources, "outputs": plain(several.outputs)}))
    assert leads["ModelImage elsewhere"] == leads["ModelImage elsewhere/law"] == {"InferenceService elsewhere"}
    assert leads["ModelImage dockers"] == leads["ModelImage copied"] == {"ModelRegistry models"}
    assert leads["SpareNodes l4"] == {"GpuNodePool l4"}
    folder = stack_of(1)
    name = "some-model-0-instruct"
    folder["resources"].append(resource("command:local:Command", "x-layout-folder", f"{OURS}ModelImage::{name}"))
    assert by_name(picture_of(folder))[f"ModelImage {name}"] == {f"InferenceService {name}"}


def test_a_platform_without_pools_leads_to_the_cluster() -> None:
    plan = stack_of(1)
    plan["outputs"]["models"]["some-model-0-instruct"]["node_pool"] = None
    assert by_name(picture_of(plan))["KServe kserve"] == {"Cluster cluster"}


def test_another_programs_resources_are_drawn_one_by_one() -> None:
    plan = {"resources": [resource("kubernetes:core/v1:ConfigMap", "settings"), resource("a:b:C", "c")], "outputs": {}}
    assert by_name(picture_of(plan)) == {"ConfigMap settings": set(), "a:b:C c": set()}


def test_in_a_plan_whose_parents_lead_in_a_circle_each_stands_by_itself() -> None:
    circle = [resource("a:b:C", "one", "a:b:C::two"), resource("a:b:C", "two", "a:b:C::one"), resource("a:b:C", "top")]
    names = {part.names for part in picture_of({"resources": circle, "outputs": {}}).parts}
    assert names == {("one",), ("two",), ("top",)}


def test_many_models_of_a_pool_are_one_part_that_names_them() -> None:
    drawn = grouped(PICTURES["twelve models"](), 4)
    models = [part for part in drawn.parts if part.kind == "InferenceService"]
    assert [(len(part.names), part.details) for part in models] == [
        (4, ("native, on pool-0",)),
        (4, ("native, on pool-1",)),
        (4, ("native, on pool-2",)),
    ]
    assert max(len([part for part in drawn.parts if part.rank is rank]) for rank in Rank) <= 4
    text = svg(PICTURES["twelve models"]())
    assert all(f"some-model-{number}-instruct" in text for number in range(12))


def test_a_change_is_drawn_by_itself_among_many_that_stay() -> None:
    key = f"{OURS}InferenceService::some-model-7-instruct"
    drawn = grouped(picture_of(stack_of(12), fates={key: Fate.UPDATED}), 3)
    (changed,) = [part for part in drawn.parts if part.fate]
    assert (changed.key, changed.names) == (key, ("some-model-7-instruct",))
    assert changed.title == "updated: InferenceService"


def test_more_names_than_a_part_has_lines_for_are_counted() -> None:
    (part,) = [part for part in grouped(picture_of(stack_of(40)), 3).parts if part.kind == "InferenceService"]
    assert len(part.names) == 40
    assert len(part.listed) == 12
    assert part.listed[-1] == "and 29 more"


def test_what_a_change_deletes_is_drawn_where_it_was_with_what_it_led_to() -> None:
    picture = marked()
    (gone,) = [part for part in picture.parts if part.fate is Fate.DELETED]
    assert gone.names == ("gone",)
    assert by_name(picture)["InferenceService gone"] == {"KServe kserve"}
    assert picture.fates == list(Fate)


def test_a_deleted_models_weights_go_with_its_image() -> None:
    before, after = stack_of(2), stack_of(1)
    name = "some-model-1-instruct"
    assert by_name(picture_of(after, before)) == by_name(picture_of(after))
    leads = by_name(picture_of(after, before, {f"{OURS}ModelImage::{name}": Fate.DELETED}))
    assert leads["weights hf://some-org/Some-Model-1B-Instruct"] == {f"ModelImage {name}"}


@pytest.mark.parametrize("name", PICTURES)
def test_an_svg_is_one_document_of_the_pages_width_with_texts_that_can_be_read(name: str) -> None:
    picture = PICTURES[name]()
    root = ET.fromstring(svg(picture))  # noqa: S314 - our own
    assert float(root.attrib["width"]) <= WIDTH_PIXELS
    space = "{http://www.w3.org/2000/svg}"
    assert {element.tag for element in root.iter()} <= {
        space + tag for tag in ("svg", "title", "desc", "style", "rect", "g", "text", "path", "polygon")
    }
    assert not any(attribute.startswith(("on", "href")) for element in root.iter() for attribute in element.attrib)
    assert all(float(text.attrib["font-size"]) >= _SMALLEST_PIXELS for text in root.iter(f"{space}text"))
    ids = {root[0].attrib["id"]: root[0], root[1].attrib["id"]: root[1]}
    assert [ids[name].tag for name in root.attrib["aria-labelledby"].split()] == [f"{space}title", f"{space}desc"]
    assert root[0].text == picture.title
    for fate in picture.fates:  # in the part itself and in the legend
        said = [text.text or "" for text in root.iter(f"{space}text")]
        assert fate.value in said
        assert any(text.startswith(f"{fate.value}: ") for text in said)


@pytest.mark.parametrize("name", PICTURES)
def test_a_flowchart_cannot_be_left_by_a_name(name: str) -> None:
    lines = mermaid(PICTURES[name]()).splitlines()
    assert lines[0] == "flowchart TB"
    allowed = (
        r'p\d+(\["[^"<>`]*"\]|\("[^"<>`]*"\))(:::[a-z-]+)?|(p|f)\d+ (==>|-->|~~~) (p\d+|f\d+|legend)|'
        r'acc(Title|Descr): [^`]*|subgraph legend\[" "\]|direction TB|f\d\["[a-z ]+"\]:::[a-z-]+|end|'
        r"style legend [a-z:,]+|classDef [a-z-]+ [a-z0-9#:, -]+"
    )
    assert [line for line in lines[1:] if not re.fullmatch(allowed, line.strip().replace("<br/>", " "))] == []


@given(st.text(max_size=200), st.sampled_from([12.0, 14.0, 16.0]), st.floats(40, 240), st.integers(1, 4))
def test_a_wrapped_text_keeps_to_its_width_and_lines(text: str, size: float, most: float, lines: int) -> None:
    found = wrapped(text, size, most, lines)
    assert 1 <= len(found) <= lines
    assert all(width(line, size) <= most for line in found)
    assert all(line.isprintable() for line in found)


def test_a_text_that_fits_keeps_all_its_letters_and_another_says_that_it_does_not() -> None:
    name = "us-central1-docker.pkg.dev/some-project/models"
    assert wrapped(name, 12, 190, 3) == ["us-central1-docker.pkg.dev/", "some-project/models"]
    assert wrapped(name, 12, 190, 1) == ["us-central1-docker.pkg.dev/…"]
    assert wrapped("w" * 60, 12, 100, 9) == ["w" * 10] * 6


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 counts it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_what_is_below_them_in_light_and_dark() -> None:
    style = ET.fromstring(svg(marked()))[2].text or ""  # noqa: S314 - our own
    for rules in style.split("@media (prefers-color-scheme: dark)"):
        of = dict(re.findall(r"([\w.-]+) \{ (?:fill|stroke): (#[0-9a-f]{6})", rules))
        assert contrast(of["text"], of[".box"]) >= 7
        assert contrast(of["text"], of[".page"]) >= 7
        assert all(contrast(of[f".{fate.value.replace(' ', '-')}"], of[".page"]) >= 3 for fate in Fate)
        assert contrast(of[".tip"], of[".page"]) >= 3
    for fill, text in re.findall(r"fill:(#\w+).*?,color:(#\w+)", mermaid(marked())):
        assert contrast(fill, text) >= 7


_LOOKED_AT = """
const pictures = %s, found = {};
const inside = (rect, x, y) => x > rect.left + 1 && x < rect.right - 1 && y > rect.top + 1 && y < rect.bottom - 1;
for (const [name, text] of Object.entries(pictures)) {
  const root = document.createElement('div'); root.innerHTML = text; document.body.append(root);
  const said = found[name] = {clipped: [], crossed: 0, overlaps: 0, wider: []};
  const boxes = [...root.querySelectorAll('g > rect')].map(one => one.getBoundingClientRect());
  const all = root.querySelector('svg').getBoundingClientRect();
  for (const text of root.querySelectorAll('text')) {
    const rect = text.getBoundingClientRect();
    const own = text.parentElement.querySelector(':scope > rect');
    const room = text.parentElement.tagName === 'g' ? own.getBoundingClientRect() : all;
    if (rect.left < room.left || rect.right > room.right || rect.top < room.top || rect.bottom > room.bottom)
      said.clipped.push(text.textContent);
    said.wider.push([text.textContent, Number(text.getAttribute('font-size')), text.getComputedTextLength()]);
  }
  for (let one = 0; one < boxes.length; one++) for (let other = 0; other < one; other++) {
    const [a, b] = [boxes[one], boxes[other]];
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) said.overlaps++;
  }
  for (const path of root.querySelectorAll('path')) {
    const to = path.getScreenCTM(), length = path.getTotalLength();
    for (let at = 0; at <= length; at += 3) {
      const point = path.getPointAtLength(at).matrixTransform(to);
      if (boxes.some(rect => inside(rect, point.x, point.y))) { said.crossed++; break; }
    }
  }
}
return found;
"""


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser says of each picture's SVG."""
    drawn = json.dumps({name: svg(make()) for name, make in PICTURES.items()}).replace("<", "\\u003c")
    found: dict[str, Any] = browser.evaluated("", _LOOKED_AT % drawn, tmp_path_factory.mktemp("svg"))
    return found


@browser.needs_browser
@pytest.mark.parametrize("name", PICTURES)
def test_in_a_browser_no_text_leaves_its_part_and_no_lead_goes_through_one(
    looked_at: dict[str, Any], name: str
) -> None:
    said = looked_at[name]
    assert said["clipped"] == []
    assert (said["overlaps"], said["crossed"]) == (0, 0)
    # The table of widths is of the widest font that a browser may take.
    assert [text for text, size, pixels in said["wider"] if pixels > width(text, size) + 0.5] == []


_DRAWN = """
mermaid.initialize({startOnLoad: false});
const pictures = %s, found = {};
for (const [number, [name, text]] of Object.entries(pictures).entries()) {
  await mermaid.parse(text);
  const {svg} = await mermaid.render(`m${number}`, text);
  const root = document.createElement('div'); root.innerHTML = svg; document.body.append(root);
  const labels = [...root.querySelectorAll('foreignObject')].filter(one => one.firstElementChild);
  found[name] = {
    wide: root.querySelector('svg').viewBox.baseVal.width,
    parts: root.querySelectorAll('.node').length,
    leads: root.querySelectorAll('.flowchart-link').length,
    texts: [...root.querySelectorAll('.nodeLabel')].map(one => one.innerText),
    clipped: labels.filter(one => one.firstElementChild.scrollWidth > one.width.baseVal.value + 1
      || one.firstElementChild.scrollHeight > one.height.baseVal.value + 1).map(one => one.textContent),
    scripts: root.querySelectorAll('script').length,
  };
}
return found;
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What GitHub's mermaid makes of each flowchart, in its own default theme."""
    texts = json.dumps({name: mermaid(make()) for name, make in PICTURES.items()}).replace("<", "\\u003c")
    library = f'<script src="{browser.MERMAID.as_uri()}"></script>'
    found: dict[str, Any] = browser.evaluated(library, _DRAWN % texts, tmp_path_factory.mktemp("mermaid"))
    assert "error" not in found, found
    return found


@browser.needs_mermaid
@pytest.mark.parametrize("name", PICTURES)
def test_mermaid_draws_every_part_and_lead_and_cuts_no_text(drawn: dict[str, Any], name: str) -> None:
    said, picture = drawn[name], grouped(PICTURES[name](), 3)
    assert said["parts"] == len(picture.parts) + len(picture.fates)
    assert said["clipped"] == []
    assert said["scripts"] == 0
    texts = ["".join(text.split()) for text in said["texts"]]
    for part in picture.parts:
        names = ["".join(shown(name).split()) for name in part.listed if len(name) < 60]
        assert [text for text in texts if text.startswith("".join([*part.title.split(), *names[:1]]))], part
        assert any(all(name in text for name in names) for text in texts), part
    assert not any("Unsupported" in text for text in texts)
    # It is shrunk to the page's width: its letters of 16 pixels are then of 12 at the least.
    assert said["wide"] <= WIDTH_PIXELS * _MERMAIDS_PIXELS / _SMALLEST_PIXELS
    if name in {"dev", "prod", "twelve models"}:
        assert said["wide"] <= WIDTH_PIXELS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(["m", "m/law", "l4", "kserve", "kserve-allow-list", "x\n"])
_KINDS = st.sampled_from(
    ["ModelImage", "InferenceService", "KServe", "GpuNodePool", "AllowList", "Cluster", "SpareNodes"]
)
_RESOURCES = st.builds(
    lambda kind, name, parent, create: resource(f"{OURS}{kind}", name, parent, create=create),
    _KINDS,
    _NAMES,
    st.none() | st.builds(lambda kind, name: f"{OURS}{kind}::{name}", _KINDS, _NAMES),
    st.sampled_from(["python -m modelimage pack", "python -m modelimage copy a b", "'", "python -m modelimage inspect"])
    | _JSON,
)
_OUTPUTS = st.dictionaries(
    st.sampled_from(["models", "node_pools", "platforms", "cluster", "registry_url"]),
    _JSON | st.dictionaries(_NAMES, _JSON | st.dictionaries(st.sampled_from(["node_pool", "digest", "count"]), _JSON)),
)


@given(st.lists(_RESOURCES, max_size=8), _OUTPUTS, st.sampled_from(Fate))
def test_a_plan_of_somebody_elses_making_is_drawn_whatever_it_says(
    resources: list[dict[str, Any]], outputs: dict[str, Any], fate: Fate
) -> None:
    plan = {"resources": resources, "outputs": outputs}
    fates = dict.fromkeys((part.key for part in picture_of(plan).parts), fate)
    picture = picture_of(plan, plan, fates)
    assert mermaid(picture).startswith("flowchart TB\n")
    ET.fromstring(svg(picture))  # noqa: S314 - our own
    ranks = {part.key: part.rank for part in picture.parts}
    assert all(ranks[lead.source] < ranks[lead.target] for lead in picture.leads)
