"""docs/scaling-to-zero.md: its stack is one that the program takes, and its query sees demand where there is no pod."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import serving

PAGE = (Path(__file__).parents[2] / "docs" / "scaling-to-zero.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
STACK: dict[str, Any] = {key.partition(":")[2]: value for key, value in yaml.safe_load(BLOCK).items()}
QUERY = STACK["models"]["qwen"]["scaling"]["query"]
PROMTOOL = shutil.which("promtool")
LOAD = 'vllm:num_requests_{}{{namespace="models", pod="qwen-predictor-5d9c", model_name="qwen"}}'


def requests(model: str) -> str:
    return (
        'loadbalancing_googleapis_com:https_internal_request_count{monitored_resource="internal_http_lb_rule", '
        f'backend_target_name="gkegw1-l8d4-models-{model}-predictor-80-kh3z7xm7nkq9", response_code="503"}}'
    )


SERIES = {
    # Of another model all the time, which must wake nobody else.
    requests("qwen-large"): "0+60x120",
    # Nobody asks for half an hour; then one client, which asks again every minute for ten; then nobody.
    requests("qwen"): "0+0x30 1+1x9 10+0x80",
    # From the 45th minute a pod is there: 30 generate and 25 wait for ten minutes.
    LOAD.format("running"): "_x45 30+0x10 0+0x65",
    LOAD.format("waiting"): "_x45 25+0x10 0+0x65",
}


def test_its_stack_is_one_that_the_program_takes_and_keda_gets_the_query() -> None:
    plan = serving.run({**serving.gke({}), **STACK})
    (service,) = plan.of_type("kubernetes:serving.kserve.io/v1beta1:InferenceService")
    (metric,) = service.inputs["spec"]["predictor"]["autoScaling"]["metrics"]

    assert service.inputs["spec"]["predictor"]["minReplicas"] == 0
    assert metric["external"]["metric"]["query"] == QUERY
    assert metric["external"]["target"]["value"] == "20"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH (Debian: prometheus)")
@pytest.mark.parametrize(
    ("minute", "value", "why"),
    [
        (25, "== 0", "nobody asks, and there is no pod: a number, and not nothing"),
        (34, "> 0", "somebody asks, and there is no pod"),
        (47, "> 55", "what generates and waits is counted, and the requests of the last ten minutes"),
        (47, "< 56", "requests in a second are a small number beside it"),
        (70, "== 0", "ten minutes after the last request the model may go"),
    ],
)
def test_the_query_sees(tmp_path: Path, minute: int, value: str, why: str) -> None:
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    # The value has many digits: that the comparison leaves one is what is asked.
    expected = [{"expr": f"count(({QUERY}) {value})", "eval_time": f"{minute}m", "exp_samples": [{"value": 1}]}]
    test = {
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expected}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], **test}), encoding="utf-8")

    done = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{why}: {done.stdout}{done.stderr}"
