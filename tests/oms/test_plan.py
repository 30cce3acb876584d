import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from components.google.prices import VARIABLE
from oms import main as oms
from tests.deployed import ROOT
from tests.offline.conftest import MakeProject

DIGEST = "sha256:" + "0123456789abcdef" * 4
PROGRAM = """
    import json
    import sys

    import pulumi
    import pulumi_command as command
    import pulumi_gcp as gcp
    import pulumi_kubernetes as k8s

    config = pulumi.Config()
    source = config.get("from")
    if source:
        models = pulumi.StackReference("from", stack_name=source).require_output("models")
        image = models.apply(lambda models: models["m"]["image"])
    else:
        class ModelImage(pulumi.ComponentResource):
            def __init__(self):
                super().__init__("oci-model-serving:index:ModelImage", "m")
                run = command.local.Command(
                    "m-build",
                    create=f"{sys.executable} -m modelimage pack weights oci:images/m --json",
                    environment={"TOKEN": config.get_secret("token") or "none"},
                    opts=pulumi.ResourceOptions(parent=self),
                )
                self.image = run.stdout.apply(json.loads).apply(lambda image: image["reference"])

        image = ModelImage().image
    k8s.core.v1.Namespace("models", metadata={"name": "models"})
    k8s.apiextensions.CustomResource(
        "m",
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata={"name": "m", "namespace": "models"},
        spec={"predictor": {"minReplicas": 1, "model": {"storageUri": pulumi.Output.concat("oci://", image)}}},
    )
    pulumi.export("models", {"m": {"image": image, "name": "m"}})
    pulumi.export("token", config.get_secret("token"))
"""
FAKE_MODELIMAGE = f"""
import json, os, sys
sys.stderr.write("packing\\n")
if os.environ.get("FAIL"):
    sys.exit("the disk is full: free 3 GB")
open("runs", "a").write("x")
print(json.dumps({{"digest": "{DIGEST}", "reference": "r.example/m@{DIGEST}", "arguments": sys.argv[1:]}}))
"""


def main(arguments: list[str]) -> int:
    """`oms plan`, or `oms diff`, as `python -m offline` starts them."""
    return oms.main(arguments if arguments[:1] == ["diff"] else ["plan", *arguments])


SECRET = "config:\n  oci-model-serving:token: {secure: v1:ciphertext}\n"


@pytest.fixture
def stacks(project: MakeProject) -> Path:
    folder = project(
        PROGRAM,
        "{from: {type: string, default: ''}}",
        dev="config: {}\n",
        prod="config:\n  oci-model-serving:from: acme/oci-model-serving/dev\n",
        stage="config:\n  oci-model-serving:from: acme/oci-model-serving/prod\n",
        locked=SECRET,
        other="config:\n  oci-model-serving:from: acme/elsewhere/dev\n",
        turning="config:\n  oci-model-serving:from: acme/oci-model-serving/turning\n",
    )
    (folder / "modelimage").mkdir()
    (folder / "modelimage" / "__main__.py").write_text(FAKE_MODELIMAGE)
    return folder


def uri(output: str) -> str:
    resources = json.loads(output)["resources"]
    service = next(item for item in resources if item["type"].endswith(":InferenceService"))
    return str(service["inputs"]["spec"]["predictor"]["model"]["storageUri"])


@pytest.mark.usefixtures("stacks")
def test_the_plan_names_the_build_instead_of_a_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "dev", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert uri(printed.out) == "known after build of m"
    assert json.loads(printed.out)["outputs"]["models"]["m"] == {"image": "known after build of m", "name": "m"}
    assert "no state is recorded" in printed.err


@pytest.mark.usefixtures("stacks")
def test_json_has_type_name_parent_and_inputs_and_is_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    plans = []
    for _ in range(2):
        main(["--stack", "dev", "--format", "json"])
        plans.append(capsys.readouterr().out)
    assert plans[0] == plans[1]
    plan = json.loads(plans[0])
    assert plan.keys() == {"stack", "resources", "outputs"}
    assert plan["stack"] == "dev"
    assert all(item.keys() - {"options"} == {"type", "name", "parent", "inputs"} for item in plan["resources"])
    parents = {item["name"]: item["parent"] for item in plan["resources"]}
    assert parents["m-build"] == "oci-model-serving:index:ModelImage::m"
    assert parents["models"] is None


def test_build_really_runs_the_build_once_and_the_digest_is_its(
    stacks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stack", "dev", "--format", "json", "--build"]) == 0
    assert uri(capsys.readouterr().out) == f"oci://r.example/m@{DIGEST}"
    assert (stacks / "runs").read_text() == "x"


def test_without_build_nothing_is_run(stacks: Path) -> None:
    assert main(["--stack", "dev"]) == 0
    assert not (stacks / "runs").exists()


@pytest.mark.usefixtures("stacks")
def test_a_failed_build_is_one_message_and_exit_code_1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "1")
    assert main(["--stack", "dev", "--build"]) == 1
    printed = capfd.readouterr()
    assert "the disk is full: free 3 GB" in printed.err
    assert "m-build failed with exit code 1" in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("stacks")
def test_a_build_with_a_secret_that_only_the_engine_can_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "locked", "--build"]) == 1
    message = capsys.readouterr().err
    assert "m-build: TOKEN is encrypted in the stack's settings" in message
    assert "oms up" in message


@pytest.mark.parametrize("form", ["table", "json", "yaml", "mermaid", "svg"])
def test_no_form_shows_a_secret(stacks: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    (stacks / "Pulumi.dev.yaml").write_text("config:\n  oci-model-serving:token: hunter2\n")
    main(["--stack", "dev", "--format", form])
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err
    assert "ciphertext" not in printed.out + printed.err


@pytest.mark.usefixtures("stacks")
def test_the_table_is_a_tree_with_what_matters_and_the_outputs_below(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stack", "dev"])
    lines = capsys.readouterr().out.splitlines()
    assert "nothing is deployed and no state is recorded" in lines[0]
    assert any("InferenceService m" in line and "storageUri=<known after build of m>  min=1" in line for line in lines)
    component = next(number for number, line in enumerate(lines) if "ModelImage m" in line)
    assert "└── command:local:Command m-build" in lines[component + 1]
    outputs = lines[lines.index("outputs") :]
    assert lines.index("outputs") > component
    assert any(line.endswith("image: <known after build of m>") for line in outputs)
    assert "\x1b[" not in "".join(lines)


@pytest.mark.usefixtures("stacks")
def test_yaml_is_the_same_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stack", "dev", "--format", "json"])
    plan = json.loads(capsys.readouterr().out)
    main(["--stack", "dev", "--format", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == plan


@pytest.mark.usefixtures("stacks")
def test_the_picture_follows_the_digest_from_image_to_server(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stack", "dev", "--format", "mermaid"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flowchart TB"
    ids = {line.strip().split("[")[0]: line for line in lines if "<br/>" in line}
    image = next(key for key, line in ids.items() if "ModelImage" in line)
    server = next(key for key, line in ids.items() if "InferenceService" in line)
    assert f"  {image} ==> {server}" in lines
    main(["--stack", "dev", "--format", "mermaid", "--build"])
    lines = capsys.readouterr().out.splitlines()
    assert f"  {image} ==> {server}" in lines
    assert "ModelImage<br/>m<br/>sha256:0123456789ab" in "\n".join(lines)
    main(["--stack", "prod", "--format", "mermaid"])
    assert "another stack<br/>acme/oci-model-" in capsys.readouterr().out


@pytest.mark.usefixtures("stacks")
def test_the_same_picture_is_drawn_as_svg_with_nothing_else_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stack", "dev", "--format", "svg"])
    root = ET.fromstring(capsys.readouterr().out)  # noqa: S314 - our own
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "oci-model-serving dev"
    assert {"ModelImage", "InferenceService", "m"} <= set(texts)


@pytest.mark.usefixtures("stacks")
def test_a_promoted_image_waits_for_the_stack_that_builds_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "prod", "--format", "json"]) == 0
    assert uri(capsys.readouterr().out) == "known after an update of stack acme/oci-model-serving/dev"


@pytest.mark.usefixtures("stacks")
def test_references_are_followed_through_several_stacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "stage", "--format", "json"]) == 0
    assert uri(capsys.readouterr().out) == "known after an update of stack acme/oci-model-serving/prod"


@pytest.mark.parametrize("name", ["acme/oci-model-serving/dev", "dev"])
@pytest.mark.parametrize("as_plan", [True, False])
def test_given_outputs_bring_their_digest_into_the_plan(
    stacks: Path, capsys: pytest.CaptureFixture[str], name: str, as_plan: bool
) -> None:
    outputs = {"models": {"m": {"image": f"r.example/m@{DIGEST}"}}}
    (stacks / "dev.json").write_text(json.dumps({"resources": [], "outputs": outputs} if as_plan else outputs))
    assert main(["--stack", "prod", "--format", "json", "--outputs", f"{name}=dev.json"]) == 0
    assert uri(capsys.readouterr().out) == f"oci://r.example/m@{DIGEST}"


@pytest.mark.usefixtures("stacks")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stack", "nope"], "stack 'nope' has no settings"),
        (["--stack", "turning"], "in a circle: turning -> turning"),
        (["--stack", "other"], "--outputs acme/elsewhere/dev=FILE"),
        (["--stack", "prod", "--outputs", "dev"], "write STACK=FILE"),
        (["--stack", "prod", "--outputs", "dev=missing.json"], "missing.json cannot be read"),
        (["--stack", "dev", "--config-file", "missing.yaml"], "missing.yaml does not exist"),
        (["--stack", "dev", "--wait"], "No such option '--wait'"),
        (["diff", "missing.json", "HEAD"], "missing.json"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (
            "from components.settings.reader import SettingsError\n"
            "raise SettingsError(['models.m: no', 'nodePools.a: no'])",
            2,
        ),
        (
            "from oci_model_serving.outputs import ContractError; raise ContractError('models.m: no, nodePools.a: no')",
            2,
        ),
        ("from modelimage import ImageError; raise ImageError('models.m: no, nodePools.a: no')", 1),
        ("from oci_model_serving.errors import InputError; raise InputError('models.m: no', 'nodePools.a: no')", 2),
        ("import pulumi; raise pulumi.RunError('models.m: no, nodePools.a: no')", 1),
        (
            "import pulumi; from oci_model_serving.outputs import ContractError\n"
            "def fail(_): raise ContractError('models.m: no, nodePools.a: no')\n"
            "pulumi.Output.from_input(1).apply(fail)",
            2,
        ),
    ],
)
def test_a_known_error_of_the_program_is_its_message_without_traceback(
    project: MakeProject, capsys: pytest.CaptureFixture[str], raised: str, code: int
) -> None:
    project(raised, dev="config: {}\n")
    assert main(["--stack", "dev"]) == code
    printed = capsys.readouterr()
    assert "models.m: no" in printed.err
    assert "nodePools.a: no" in printed.err
    assert "Traceback" not in printed.err


def test_an_unexpected_error_of_the_program_is_not_hidden(project: MakeProject) -> None:
    project("1 / 0", dev="config: {}\n")
    with pytest.raises(ZeroDivisionError):
        main(["--stack", "dev"])


def test_warnings_of_the_program_go_to_stderr_and_into_the_data(
    project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project("import pulumi; pulumi.log.warn('the disk is close to full')", dev="config: {}\n")
    main(["--stack", "dev", "--format", "json"])
    printed = capsys.readouterr()
    assert "warning: the disk is close to full" in printed.err
    warned = {"stack": "dev", "resources": [], "outputs": {}, "warnings": ["the disk is close to full"]}
    assert json.loads(printed.out) == warned


def test_policy_violations_are_printed_and_mandatory_ones_fail(
    project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
        import pulumi_gcp as gcp
        gcp.projects.IAMBinding("b", project="demo", role="roles/editor", members=["allUsers"])
    """
    project(program, dev="config: {}\n")
    assert main(["--stack", "dev", "--policy"]) == 1
    message = capsys.readouterr().err
    for rule in ("no-authoritative-iam", "no-public-members", "no-broad-roles"):
        assert f"mandatory: {rule}: gcp:projects/iAMBinding:IAMBinding b" in message
    assert "policy: 4 mandatory, 0 advisory violations" in message


def test_a_plan_of_another_revision_is_judged_without_running_any_of_its_code(
    project: MakeProject, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project("raise SystemExit('its code runs')", dev="no settings at all: [")
    made = {
        "type": "gcp:projects/iAMMember:IAMMember",
        "name": "b",
        "inputs": {"role": "roles/owner", "member": "user:x"},
    }
    plan = tmp_path / "plan.json"
    for resources, code in (([made], 1), ([], 0)):
        plan.write_text(json.dumps({"resources": resources, "outputs": {}}))
        assert oms.main(["policy", "--stack", "dev", "--plan", str(plan)]) == code
    assert "mandatory: no-broad-roles: gcp:projects/iAMMember:IAMMember b" in capsys.readouterr().err

    assert oms.main(["policy", "--plan", str(plan), "--outputs", "dev=x"]) == 2
    assert "leave out --config-file and --outputs" in capsys.readouterr().err


def test_it_runs_as_a_module_from_a_folder_below_the_project(project: MakeProject) -> None:
    folder = project("import pulumi; pulumi.export('stack', pulumi.get_stack())", dev="config: {}\n")
    below = folder / "docs"
    below.mkdir()
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "offline", "--stack", "dev", "--format", "json"],
        cwd=below,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["outputs"] == {"stack": "dev"}


def test_a_plan_shows_cold_starts_and_cost_and_takes_prices_of_ones_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(VARIABLE, "")
    prices = tmp_path / "prices.csv"
    prices.write_text("kind,name,usd,per\nmachine,g2-standard-8,0.5,hour\nspot,g2-standard-8,0.25,hour\n")
    stack = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    stack["config"]["oci-model-serving:models"]["qwen2.5-0.5b-instruct"]["sizeGb"] = 1.1
    file = tmp_path / "dev.yaml"
    file.write_text(yaml.safe_dump(stack))
    given = ["plan", "--stack", "dev", "--config-file", str(file), "--prices", str(prices)]
    assert oms.main(given) == 0
    shown = capsys.readouterr()
    assert "cold start, predicted" in shown.out
    assert "predicted: " not in shown.err, "it is said once"
    assert str(prices) in shown.out
    assert oms.main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]
    (start,) = [model["cold_start"] for model in found["models"].values()]
    assert start["total"][0] > 180
    assert found["cost"]["at_max"][0] == found["cost"]["at_max"][1], "a spot price of one's own is no range"


def test_a_plan_says_once_what_delivery_auto_has_become_and_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    stack = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    stack["config"]["oci-model-serving:models"]["qwen2.5-0.5b-instruct"] |= {"sizeGb": 1.1, "delivery": "auto"}
    file = tmp_path / "dev.yaml"
    file.write_text(yaml.safe_dump(stack))
    given = ["plan", "--stack", "dev", "--config-file", str(file)]
    assert oms.main(given) == 0
    shown = capsys.readouterr()
    assert "qwen2.5-0.5b-instruct: delivery auto is " in shown.out
    assert "delivery auto is " not in shown.err, "it is said once"
    assert oms.main([*given, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    (told,) = [model["delivery"] for model in plan["predictions"]["models"].values()]
    assert told["delivery"] == plan["outputs"]["models"]["qwen2.5-0.5b-instruct"]["delivery"]
    assert f"delivery auto is {told['delivery']}: {told['why']}" in shown.out
    assert told["other"]["total"][0] > 180


def test_a_file_that_is_no_table_of_prices_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMS_PRICES", "")  # which the command sets for what it starts
    prices = tmp_path / "prices.csv"
    prices.write_text("a\n1\n")
    assert oms.main(["plan", "--prices", str(prices)]) == 2
    assert "line 2: kind and name and usd and per missing" in capsys.readouterr().err
