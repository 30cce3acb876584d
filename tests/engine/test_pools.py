"""That docs/gke.md says of each setting of a pool what the engine does."""

import json
from pathlib import Path

from components.settings.google import NodePoolSettings
from tests.components.google.test_node_pool import OF_OTHERS
from tests.engine import pools, stacks

pytestmark = stacks.ENGINE


def record() -> dict[str, str]:
    found: dict[str, str] = json.loads(pools.RECORD.read_text(encoding="utf-8"))
    return found


def test_the_engine_does_to_each_pool_what_was_recorded(tmp_path: Path) -> None:
    with stacks.ground(tmp_path / "ground") as on:
        assert pools.of_preview(pools.deployed(on)) == record()


def test_the_page_shows_the_record_and_the_record_has_every_setting() -> None:
    page = pools.PAGE.read_text(encoding="utf-8")

    assert pools.with_table(page, record()) == page, "`python -m tests.engine.pools` writes docs/gke.md anew"
    shown = {name.partition(".")[0] for name in record()}
    assert shown == {pools.camel(name) for name in NodePoolSettings.model_fields} - {*map(pools.camel, OF_OTHERS)}
