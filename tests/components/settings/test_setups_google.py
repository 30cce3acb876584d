"""The set-ups of Google's side, each taken or told with its key and what to write."""

import re
from pathlib import Path

import pytest

from components.settings.reader import SettingsError
from tests.components.settings.cases_setups_google import BAD, GOOD
from tests.components.settings.reading import read
from tests.components.settings.stacks import Bad, Good, stack


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_set_up_that_people_run_is_taken(case: Good, tmp_path: Path) -> None:
    read(stack(case, tmp_path))


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_set_up_that_cannot_be_is_told_with_its_key_and_the_remedy(case: Bad, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read(stack(case, tmp_path))

    own = [text for text in refused.value.problems if re.match(rf"oci-model-serving:{re.escape(case.path)}[.:]", text)]
    assert any(all(word in text for word in case.words) for text in own), refused.value.problems
