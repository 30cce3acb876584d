"""Packing in Google Cloud Build: the same packer, run where the weights need not cross a laptop's line.

The packer's own code travels inside the build request, as a zip archive in the step's arguments, and its requirements
are installed at the versions that are installed here; nothing else has to exist beforehand. Limits of a step: 100
arguments of 10,000 characters (Cloud Build, "Build configuration file schema").
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound, RequestRangeNotSatisfiable, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.devtools import cloudbuild_v1
from pydantic import BaseModel, Field, ValidationError

from modelimage import bundle
from modelimage.errors import ImageError, first_line
from modelimage.images import SCRATCH
from modelimage.modelpack import check_destination
from modelimage.progress import Reporter
from modelimage.streams import BodyPart
from modelimage.traits import Traits
from modelimage.transfer import Inspection, inspect
from modelimage.variables import HUB_TOKEN
from oci_model_serving.reference import DIGEST, RegistryReference

DEFAULT_TIMEOUT_SECONDS = 7200
_MachineType: Any = cloudbuild_v1.BuildOptions.MachineType  # an enumeration, which its type stubs do not say
MACHINE_TYPES = tuple(kind.name for kind in _MachineType if kind.value)

_LOG_BYTES = 8 << 20
"""Of a build's log, how much is read at once."""
_LINE_BYTES = 64 << 10
_ARGUMENT_CHARACTERS = 9_000
_ARCHIVE = "/workspace/modelimage.zip"
# argv: how many arguments are parts of the archive, the parts, then the arguments of build_step.
_LOADER = (
    "import base64,os,sys;n=int(sys.argv[1]);"
    f"open({_ARCHIVE!r},'wb').write(base64.b64decode(''.join(sys.argv[2:2+n])));"
    f"os.environ['PYTHONPATH']={_ARCHIVE!r};"
    f"os.execv(sys.executable,[sys.executable,'-m',{bundle.STEP!r},*sys.argv[2+n:]])"
)
_API = "cloudbuild.googleapis.com"
# Google's REST clients put the request before what the service said.
_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")
_PASSING = frozenset({429, 500, 502, 503, 504})
_ACCESS = "secretmanager.versions.access"
_POLL_SECONDS = 3.0
_ENDED = frozenset({"SUCCESS", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"})

# Google's storage library has no types; seen as Any, its calls are checked by the tests alone.
_storage: Any = storage


class _BuildOutput(BaseModel):
    """What the step leaves in $BUILDER_OUTPUT/output."""

    digest: str = Field(pattern=f"^{DIGEST.pattern}$")
    size_bytes: int
    traits: Traits = Traits()
    modelpack: str = ""


@dataclass(frozen=True)
class BuildPlace:
    """Where and how the build runs.

    `service_account` is an email, or None for the project's default; `hf_token_secret` is a Secret Manager version
    (`projects/P/secrets/S/versions/V`) with a Hugging Face token; `timeout_seconds` bounds the whole build; `disk_gb`
    is the size of its disk, which only a conversion needs.
    """

    project: str
    region: str
    service_account: str | None = None
    machine_type: str | None = None
    disk_gb: int | None = None
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    step_image: str = bundle.DEFAULT_STEP_IMAGE
    hf_token_secret: str | None = None

    @property
    def parent(self) -> str:
        """The resource name that builds of this place are below."""
        return f"projects/{self.project}/locations/{self.region}"


def pack_in_cloud_build(
    source: str,
    destination: str,
    place: BuildPlace,
    *,
    base: str = SCRATCH,
    files: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    client: Any = None,
    log_client: Any = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Inspection:
    """Pack `source` (hf://, gs:// or oci://) to `destination` in Cloud Build; gives the image as the registry has it.

    `files` are further arguments of `pack`, which choose the source's files and their form.
    The build's log goes to `reporter`. `client` and `log_client` are Google's Cloud Build and storage clients
    (by default with application default credentials).

    Raises:
        InputError: an argument cannot work.
        ImageError: the build could not be started, failed, or left an image that the registry does not have.
    """
    reporter = reporter or Reporter()
    registry_place = _check(source, destination, base, place)
    if files and files.get("modelpack"):
        check_destination(registry_place)
    build = make_build(source, destination, place, base=base, files=files)
    try:
        client = client or cloudbuild_v1.CloudBuildClient(transport="rest")
        log_client = log_client or _storage.Client(project=place.project)
        operation = client.create_build(request={"parent": place.parent, "project_id": place.project, "build": build})
        started = operation.metadata.build
    except (GoogleAPICallError, GoogleAuthError, RetryError) as error:
        raise _explained(error, f"starting a build in {place.parent}", place.project) from error
    reporter.note(f"Cloud Build {started.id}: {started.log_url}")
    name = f"{place.parent}/builds/{started.id}"
    try:
        ended = _follow(client, log_client, name, reporter, sleep)
    except KeyboardInterrupt:
        with suppress(GoogleAPICallError, GoogleAuthError, RetryError):  # the interrupt is what is told
            client.cancel_build(request={"name": name, "project_id": place.project, "id": started.id})
        raise
    output = _output_of(ended)
    found = inspect(str(registry_place.at(output.digest)), require_digest_tag=True, reporter=reporter)
    return replace(found, traits=output.traits, modelpack=output.modelpack)


def _check(source: str, destination: str, base: str, place: BuildPlace) -> RegistryReference:
    problems: list[str] = []
    if place.machine_type is not None and place.machine_type not in MACHINE_TYPES:
        problems.append(f"--machine-type {place.machine_type!r}: give one of {', '.join(MACHINE_TYPES)}")
    if place.disk_gb is not None and not 10 <= place.disk_gb <= 4000:
        problems.append(f"--disk-gb {place.disk_gb}: give 10 to 4000 GB (Cloud Build's limit)")
    if not 60 <= place.timeout_seconds <= 86_400:
        problems.append(f"--timeout {place.timeout_seconds}: give 60 to 86400 seconds (Cloud Build's limit is a day)")
    return bundle.check(source, destination, base, problems, who="Cloud Build", disk="a build's disk")


def make_build(
    source: str,
    destination: str,
    place: BuildPlace,
    *,
    base: str = SCRATCH,
    files: Mapping[str, Any] | None = None,
) -> cloudbuild_v1.Build:
    """The build that packs `source`: one step, with the packer's code in its arguments; `files` as above."""
    code = base64.b64encode(bundle.archive()).decode()
    parts = [code[start : start + _ARGUMENT_CHARACTERS] for start in range(0, len(code), _ARGUMENT_CHARACTERS)]
    pins = bundle.requirements(files)
    job = {"source": source, "destination": destination, "base": base, **(files or {})}
    step = cloudbuild_v1.BuildStep(
        id="pack",
        name=place.step_image,
        entrypoint="python",
        # Cloud Build replaces $NAME in arguments; $$ is a dollar sign.
        args=[
            argument.replace("$", "$$") for argument in ("-c", _LOADER, str(len(parts)), *parts, json.dumps(job), *pins)
        ],
        env=["PYTHONUNBUFFERED=1", "PIP_ROOT_USER_ACTION=ignore"],
    )
    build = cloudbuild_v1.Build(
        steps=[step],
        timeout={"seconds": place.timeout_seconds},
        options=cloudbuild_v1.BuildOptions(
            # A log in the project's own bucket can be followed, and is what builds with an own account require.
            logging=cloudbuild_v1.BuildOptions.LoggingMode.GCS_ONLY,
            default_logs_bucket_behavior=(
                cloudbuild_v1.BuildOptions.DefaultLogsBucketBehavior.REGIONAL_USER_OWNED_BUCKET
            ),
        ),
        tags=["oci-model-serving"],
    )
    if place.machine_type is not None:
        build.options.machine_type = _MachineType[place.machine_type]
    if place.disk_gb is not None:
        build.options.disk_size_gb = place.disk_gb
    if place.service_account is not None:
        build.service_account = f"projects/{place.project}/serviceAccounts/{place.service_account}"
    if place.hf_token_secret is not None:
        step.secret_env = [HUB_TOKEN]
        build.steps = [step]
        build.available_secrets = cloudbuild_v1.Secrets(
            secret_manager=[{"version_name": place.hf_token_secret, "env": HUB_TOKEN}]
        )
    return build


def _follow(client: Any, log_client: Any, name: str, reporter: Reporter, sleep: Callable[[float], None]) -> Any:
    """Wait for the build's end, handing on its log as it grows; return the build."""
    log: _Log | None = None
    while True:
        try:
            build = client.get_build(request={"name": name})
        except (GoogleAPICallError, GoogleAuthError, RetryError) as error:
            raise _explained(error, f"asking for {name}", name.split("/")[1]) from error
        ended = build.status.name in _ENDED
        if log is None and build.logs_bucket:
            log = _Log(log_client, build.logs_bucket, build.id, reporter)
        if log is not None:
            log.hand_on(last=ended)
        if ended:
            if build.status.name != "SUCCESS":
                said = build.status_detail or (build.failure_info.detail if build.failure_info else "")
                remedy = f"read its log at {build.log_url}"
                if _ACCESS in said:
                    remedy = "check the secret's name, and give the build's account roles/secretmanager.secretAccessor"
                raise ImageError(
                    f"Cloud Build {build.id} ended as {build.status.name}{f': {said}' if said else ''}: {remedy}"
                )
            return build
        sleep(_POLL_SECONDS)


class _Log:
    """A build's log, an object that grows in a bucket: handed on line by line."""

    def __init__(self, client: Any, bucket: str, build: str, reporter: Reporter) -> None:
        self._blob = client.bucket(bucket.removeprefix("gs://").split("/")[0]).blob(f"log-{build}.txt")
        self._reporter = reporter
        self._read = 0
        self._line = b""

    def hand_on(self, *, last: bool) -> None:
        """Report the lines that have come since the last time; with `last` an unfinished line as well."""
        try:
            into = BodyPart(_LOG_BYTES, "reading the build's log")
            self._blob.download_to_file(into, start=self._read, end=self._read + _LOG_BYTES - 1, checksum=None)
            content = into.getvalue()
        except (NotFound, RequestRangeNotSatisfiable):
            content = b""  # not begun, or nothing new
        except (GoogleAPICallError, GoogleAuthError, RetryError, requests.RequestException, ImageError):
            content = b""  # the log is a courtesy: the build goes on, and its address was told
        self._read += len(content)
        *lines, self._line = (self._line + content).split(b"\n")
        if len(self._line) > _LINE_BYTES:
            lines, self._line = [*lines, self._line], b""
        if last and self._line:
            lines.append(self._line)
        for line in lines:
            self._reporter.note(line.decode(errors="replace"))


def _output_of(build: Any) -> _BuildOutput:
    outputs = list(build.results.build_step_outputs) if build.results else []
    try:
        return _BuildOutput.model_validate_json(outputs[0])
    except (IndexError, ValidationError) as error:
        raise ImageError(
            f"Cloud Build {build.id} ended well and left no digest: read its log at {build.log_url}"
        ) from error


def _explained(error: Exception, doing: str, project: str) -> ImageError:
    if isinstance(error, GoogleAuthError):
        return ImageError(f"{doing}: no usable Google credentials: run `gcloud auth application-default login`")
    remedy = (
        f"check that {_API} is enabled in the project and that the account may create builds "
        "(roles/cloudbuild.builds.editor)"
    )
    said = first_line(error)
    if isinstance(error, GoogleAPICallError):
        said = _REQUEST.sub("", error.message or said)
        if any(isinstance(detail, dict) and detail.get("reason") == "SERVICE_DISABLED" for detail in error.details):
            said = f"{_API} is not enabled"
            remedy = f"`gcloud services enable {_API} --project {project}`, wait a minute, run again"
        elif error.code in _PASSING:
            remedy = "run again in a few minutes"
    return ImageError(f"{doing}: Cloud Build answered: {said.rstrip('.')}: {remedy}")
