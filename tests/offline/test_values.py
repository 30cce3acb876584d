import json

from hypothesis import given
from hypothesis import strategies as st

from offline.values import KnownAfter, Secret, dumps, parse, plain, reveal, unknowns

events = st.text("abcdefgh ", min_size=1)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text().filter(lambda text: not text.startswith("known after") and text != "[secret]"),
    st.builds(KnownAfter, events),
)
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(trees)
def test_what_is_written_is_read_back(tree: object) -> None:
    assert parse(json.loads(json.dumps(plain(tree)))) == tree


@given(st.text(min_size=8))
def test_a_secret_is_in_no_text_of_it(text: str) -> None:
    value = {"a": [Secret(text)]}
    assert text not in repr(value).replace("[secret]", "")
    assert json.loads(dumps(value)) == {"a": ["[secret]"]}


def test_a_secret_is_revealed_to_who_asks_for_it() -> None:
    assert reveal({"a": [Secret("pw"), 1]}) == {"a": ["pw", 1]}


def test_an_unknown_inside_a_secret_is_found() -> None:
    later = KnownAfter("creation of Cluster c")
    assert unknowns({"a": Secret(later), "b": [later, 1]}) == [later, later]
