from pathlib import Path

import pytest

from components.google import accelerators, prices
from components.google.image_disk import ImageDisk
from oci_model_serving.errors import InputError

H100 = accelerators.machine_for("nvidia-h100-80gb", 8, "a3-highgpu-8g")
B200 = accelerators.machine_for("nvidia-b200", 8)
T4 = accelerators.machine_for("nvidia-tesla-t4", 1, "n1-standard-8")


def test_the_shipped_table_says_that_it_has_list_prices_of_a_date() -> None:
    assert prices.shipped().source == f"list price us-central1 {prices.DATE}"


def test_a_machine_costs_its_list_price_and_on_spot_9_to_40_percent_of_it() -> None:
    table = prices.shipped()
    assert table.machine(H100, spot=False) == (88.49, 88.49)
    least, most = table.machine(H100, spot=True) or (0, 0)
    assert [least, most] == pytest.approx([88.49 * 0.09, 88.49 * 0.40])


def test_what_the_table_lacks_has_no_price() -> None:
    assert prices.shipped().machine(B200, spot=False) is None
    assert prices.shipped().disk(ImageDisk("pd-extreme", 500)) is None


def test_a_machine_whose_gpus_are_attached_costs_the_sum_of_its_parts() -> None:
    price = prices.shipped().machine(T4, spot=False)
    assert list(price or ()) == pytest.approx([8 * 0.0316 + 30 * 0.0042 + 0.35] * 2)


def test_a_disk_costs_its_size_and_what_is_provisioned_beyond_what_is_included() -> None:
    table = prices.shipped()
    assert table.disk(ImageDisk("pd-balanced", 730)) == pytest.approx(0.10)
    plain = table.disk(ImageDisk("hyperdisk-balanced", 400)) or 0
    fast = table.disk(ImageDisk("hyperdisk-balanced", 400, 0, 9_600, 2_400)) or 0
    assert fast - plain == pytest.approx((6_600 * 0.005 + 2_260 * 0.04) / 730)


def test_rows_of_the_users_own_take_the_place_of_the_shipped_ones(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("kind,name,usd,per\nmachine,a3-highgpu-8g,50,hour\nspot,a3-highgpu-8g,20,hour\n")
    table = prices.read(file)
    assert table.machine(H100, spot=False) == (50, 50)
    assert table.machine(H100, spot=True) == (20, 20)
    assert table.disk(ImageDisk("pd-balanced", 730)) == pytest.approx(0.10)
    assert str(file) in table.source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no prices: write lines of kind,name,usd,per"),
        ("kind,name,usd,per\n", "has no prices"),
        ("kind,name,usd,per\nmachine,x,1\n", "line 2: per missing"),
        ("kind,name,usd,per\nengine,x,1,hour\n", "line 2: kind 'engine' is unknown: write one of"),
        ("kind,name,usd,per\nmachine,x,1,day\n", "line 2: per 'day' is unknown: write hour or month"),
        ("kind,name,usd,per\nmachine,x,$1,hour\n", "line 2: usd '$1' is no price"),
        ("kind,name,usd,per\nmachine,x,-1,hour\n", "line 2: usd '-1' is no price"),
        ("kind,name,usd,per\nmachine,x,nan,hour\n", "line 2: usd 'nan' is no price"),
    ],
)
def test_a_file_that_holds_no_prices_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said.replace("$", r"\$")):
        prices.read(file)


def test_all_problems_of_a_file_come_together(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("kind,name,usd,per\nengine,x,1,hour\nmachine,x,no,hour\n")
    with pytest.raises(InputError) as refused:
        prices.read(file)
    assert len(refused.value.problems) == 2


def test_the_environment_chooses_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("kind,name,usd,per\nmachine,a3-highgpu-8g,50,hour\n")
    assert prices.chosen().source == prices.LIST_PRICE
    monkeypatch.setenv(prices.VARIABLE, str(file))
    assert prices.chosen().machine(H100, spot=False) == (50, 50)
    monkeypatch.setenv(prices.VARIABLE, str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="cannot be read"):
        prices.chosen()
