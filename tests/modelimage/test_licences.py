"""The licence of a model, as cards really say it."""

import pytest

from modelimage.licences import metadata, of_card, of_files, parts
from modelimage.source import SourceFile

CARDS = {
    "---\nlicense: apache-2.0\nlanguage:\n- en\n---\n# A model\n": "apache-2.0",
    "---\r\nlicense: mit\r\n---\r\n": "mit",
    "\ufeff---\nlicense: llama3.1\n---\n": "llama3.1",
    "---\nlicense:\n- mit\n- apache-2.0\n---\n": "mit, apache-2.0",
    "---\nlicense: other\nlicense_name: qwen-research\nlicense_link: LICENSE\n---\n": "qwen-research",
    "---\nlicense: other\nlicense_link: https://example.com/terms\n---\n": "https://example.com/terms",
    "---\nlicense: other\n---\n": "other",
    "---\nlicense: 1.0\n---\n": "1.0",
    "---\nlicense: null\n---\n": "",
    "---\nlicense: {a: b}\n---\n": "",
    "---\nlanguage: en\n---\nlicense: mit\n": "",
    "# license: mit\n": "",
    "---\nlicense: mit\n": "",
    "---\nlicense: [\n---\n": "",
    "---\n" + "[" * 5000 + "\n---\n": "",
    "---\nlicense: [other]\nlicense_name: qwen\n---\n": "qwen",
    "---\nlicense: true\n---\n": "",
    "---\nlicense: [mit, [a]]\n---\n": "",
    "---\nlicense: !!bool x\n---\n": "",
    "---\nlicense: !!int ''\n---\n": "",
    "---\nlicense: !!timestamp x\n---\n": "",
    "": "",
}


@pytest.mark.parametrize(("card", "licence"), CARDS.items(), ids=range(len(CARDS)))
def test_a_card_names_its_licence_at_its_head_alone(card: str, licence: str) -> None:
    assert of_card(metadata(card.encode())) == licence


def test_the_card_is_the_readme_at_the_root() -> None:
    card = SourceFile.of("README.md", b"---\nlicense: mit\n---\n")
    assert of_files([SourceFile.of("docs/README.md", b"---\nlicense: gpl-3.0\n---\n"), card]) == "mit"
    assert of_files([SourceFile.of("config.json", b"{}")]) == ""


def test_licences_are_compared_one_by_one_without_regard_to_capitals() -> None:
    assert parts("MIT, Apache-2.0") == ["mit", "apache-2.0"]
