from pathlib import Path

import pytest

from tests.integration import cluster


@pytest.mark.parametrize("text", ["", "apiVersion: v1\nkind: Con", "clusters: [{name: test, cluster: {server: "])
def test_a_kubeconfig_that_is_being_written_is_no_cluster_that_answers(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)

    assert cluster._answers(tmp_path / "kubeconfig") is False
