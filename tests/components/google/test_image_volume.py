import pytest

from components.google import image_volume


def ask(version: str | None, *, alpha: bool = False, sandbox: bool = False, subpath: bool = False) -> str | None:
    return image_volume.problem(version, alpha=alpha, sandbox=sandbox, subpath=subpath)


@pytest.mark.parametrize("version", ["1.35", "1.35.0-gke.1", "1.36.2-gke.1500", "1.40", None])
def test_versions_that_mount_image_volumes_or_are_not_known_yet_pass(version: str | None) -> None:
    assert ask(version, subpath=True) is None


@pytest.mark.parametrize("version", ["1.34", "1.34.9-gke.1", "1.9", "1.31"])
def test_an_older_version_is_refused_with_what_to_take(version: str) -> None:
    problem = ask(version)

    assert problem is not None
    assert version in problem
    assert "take 1.35 or later, or deliver by modelcar" in problem


@pytest.mark.parametrize("version", ["1.34", "1.34.4", "1.34.10-gke.3"])
def test_an_alpha_cluster_opens_the_gate_where_containerd_can(version: str) -> None:
    assert ask(version, alpha=True, subpath=True) is None


@pytest.mark.parametrize("version", ["1.31", "1.32.9-gke.1", "1.33", "1.33.5-gke.2", "1.34.3-gke.1"])
def test_an_alpha_cluster_with_an_old_containerd_is_refused(version: str) -> None:
    problem = ask(version, alpha=True)

    assert problem is not None
    assert "containerd before 2.1" in problem
    assert problem.endswith("take 1.34")


def test_a_subpath_before_its_version_is_refused_on_an_alpha_cluster() -> None:
    assert "subPath" in (ask("1.32", alpha=True, subpath=True) or "")
    assert "subPath" not in (ask("1.32", alpha=True, subpath=False) or "")


def test_a_version_before_the_gate_is_refused_on_an_alpha_cluster() -> None:
    assert "came with 1.31" in (ask("1.30", alpha=True) or "")


@pytest.mark.parametrize("version", ["1.36", None])
def test_gvisor_is_refused_whatever_the_version(version: str | None) -> None:
    assert "gVisor" in (ask(version, sandbox=True) or "")


def test_the_warning_says_what_an_alpha_cluster_costs() -> None:
    assert "30 days" in image_volume.ALPHA_WARNING
    assert "never upgrades" in image_volume.ALPHA_WARNING
