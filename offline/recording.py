"""Runs a Pulumi program in this process and records what it registers: the one place of our Pulumi mocks.

The run is a preview: an output that no rule of `computed` and no answer of the caller gives is unknown, callbacks on
it do not run, and it reaches the inputs of other resources as `KnownAfter`, naming the resource that it waits for.

How the origin of an unknown value survives: the SDK (pulumi 3.272) sends an unknown input to the engine as one
constant, and its dependencies per top-level property only. So a stack transformation, which sees every resource's
arguments before they are serialized, replaces each output in them, however deep, by one that resolves to a token
where its value is unknown or secret; the monitor turns the tokens back into `KnownAfter` and `Secret`.
"""

import asyncio
import contextvars
import copy
import inspect
import logging
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pulumi
from google.protobuf import empty_pb2, json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi._types import is_input_type
from pulumi.runtime import mocks, rpc, set_all_config, stack
from pulumi.runtime import resource as registration
from pulumi.runtime.proto import resource_pb2, source_pb2
from pulumi.runtime.settings import configure, get_root_resource

from components import commands
from components.settings.stack_file import MASK
from oci_model_serving.errors import InputError
from offline.computed import computed_outputs, is_settled
from offline.values import KnownAfter, Secret, reveal, transform

_T = TypeVar("_T")
STACK_TYPE = "pulumi:pulumi:Stack"
STACK_REFERENCE_TYPE = "pulumi:pulumi:StackReference"
MODEL_IMAGE_TYPE = "oci-model-serving:index:ModelImage"
COMMAND_TYPE = "command:local:Command"
IMAGE_TYPE = "docker:index/image:Image"
CLUSTER_TYPE = "gcp:container/cluster:Cluster"
NODE_POOL_TYPE = "gcp:container/nodePool:NodePool"
RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"
INFERENCE_SERVICE_TYPE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
KUBEAI_MODEL_TYPE = "kubernetes:kubeai.org/v1:Model"
_SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key that marks special values on the wire (`_special_sig_key` of pulumi/runtime/rpc.py)."""
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the wire's mark of a secret, itself public
_ALWAYS_SECRET = {
    "kubernetes:core/v1:Secret": ("data", "stringData"),
    "pulumi:providers:kubernetes": ("kubeconfig",),
}
"""Inputs that are secret whatever the program says: pulumi-kubernetes marks the data of every Secret."""


@dataclass(frozen=True)
class Resource:
    """A resource as the program registered it.

    `inputs` has the keys that the provider receives (camelCase) and holds plain data, `KnownAfter` and `Secret`.
    `parent` is the URN of the parent, empty at the top; `read` says that the program looked it up instead of
    declaring it; `order` is the place in the program; `options` are those that decide over its life, as far as set,
    and its `aliases` as `TYPE$TYPE::NAME`.
    """

    urn: str
    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    dependencies: tuple[str, ...] = ()
    read: bool = False
    component: bool = False
    order: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def runs(self) -> commands.Own | None:
        """The command of ours that the resource runs, if it runs one."""
        return commands.read(reveal(self.inputs.get("create"))) if self.type == COMMAND_TYPE else None


Answer = Callable[[Resource], Mapping[str, Any] | None]
"""Gives outputs of a resource beyond its inputs and what is computed from them (`id` among them), or none."""


@dataclass
class Recording:
    """What a run registered and exported."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, str]] = field(default_factory=list)

    def of_type(self, type_: str) -> list[Resource]:
        """The resources of one type, in the program's order."""
        return [resource for resource in self.resources if resource.type == type_]

    def only(self, type_: str, name: str | None = None) -> Resource:
        """The one resource of this type (and name); a `LookupError` that lists what there is otherwise."""
        found = [resource for resource in self.of_type(type_) if name in {None, resource.name}]
        if len(found) != 1:
            there = sorted(f"{resource.type} {resource.name}" for resource in self.resources)
            raise LookupError(f"{len(found)} resources of {type_} {name or ''} among {there}")
        return found[0]


class UnansweredReferenceError(InputError):
    """The program refers to a stack whose outputs were not given."""

    def __init__(self, stack_names: Iterable[str]) -> None:
        self.stack_names = tuple(sorted(stack_names))
        names = ", ".join(self.stack_names)
        super().__init__(f"the outputs of stack {names} are not known: give them with --outputs")


def record(
    program: Callable[[], Any],
    *,
    project: str = "project",
    stack_name: str = "stack",
    organization: str = "organization",
    config: Mapping[str, str] | None = None,
    secret_keys: Iterable[str] = (),
    stack_outputs: Mapping[str, Mapping[str, Any]] | None = None,
    answer: Answer | None = None,
    stop: Callable[[], None] | None = None,
    preview: bool = True,
) -> Recording:
    """Run `program` and return what it registered, sorted by its order in the program.

    `config` is keyed `namespace:key`. `stack_outputs` answers stack references by the name that the program uses.
    `stop` is called when the run is interrupted (Ctrl-C), so that no `answer` holds it up any longer.
    With `preview=False` an output without answer is known, and empty, as in `pulumi up` under the SDK's own mocks.

    Raises:
        UnansweredReferenceError: a stack reference has no answer.
        InputError: two resources share type, name and parent type (the engine refuses their common URN).
        Exception: whatever the program raises.
    """
    monitor = _Monitor(dict(config or {}), stack_outputs or {}, answer)
    # Not set by the mocks themselves, as the lock: a failed run's leftovers would fail the next one in this process.
    outputs: set[asyncio.Future[Any]] = set()

    def run() -> None:
        set_all_config(dict(config or {}), list(secret_keys))
        settings = mocks.MockSettings(  # type: ignore[no-untyped-call]
            monitor=monitor,
            monitor_features=set(monitor.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures),  # type: ignore[no-untyped-call]
            engine=mocks.MockEngine(monitor.logger),
            project=project,
            stack=stack_name,
            organization=organization,
            dry_run=preview,
            callbacks=None,
            outputs=outputs,
            lock=threading.Lock(),
        )
        configure(settings)
        loop = asyncio.new_event_loop()
        if answer is None:
            loop.set_default_executor(_AtOnce())
        # What fails is raised from here, once; tasks that waited for it would each print it again.
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            loop.run_until_complete(stack.run_in_stack(lambda: monitor.run(program, outputs)))
        except KeyboardInterrupt:
            if stop is not None:
                stop()
            raise
        finally:
            _close(loop)

    try:
        with _without_traces():
            contextvars.copy_context().run(run)
    except Exception as error:
        own = monitor.failure or _own(error)
        if own is not error:
            raise own from None
        raise
    if monitor.unanswered:
        raise UnansweredReferenceError(monitor.unanswered)
    monitor.recording.resources.sort(key=lambda resource: (resource.order, resource.urn))
    return monitor.recording


@contextmanager
def _without_traces() -> Iterator[None]:
    """Keep the SDK from telling where in the program each resource is made: nobody reads it.

    The more functions call one another, the longer it takes: in our tests it is a quarter (pulumi 3.272,
    runtime/resource.py). Of a later SDK that has no such function nothing is changed.
    """
    name = "_get_stack_trace"
    kept = vars(registration).get(name)
    setattr(registration, name, source_pb2.StackTrace)
    try:
        yield
    finally:
        setattr(registration, name, kept)


def _is_wrapped(error: Exception) -> bool:
    return str(error).startswith("While processing ")


def _own(error: Exception) -> Exception:
    """What the program has raised: the SDK wraps a `ValueError` of an input, twice (pulumi 3.272, runtime/rpc.py)."""
    # Of what the program exports, the wrapped error is its own cause.
    while isinstance(cause := error.__cause__, Exception) and cause is not error and _is_wrapped(error):
        error = cause
    return error


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close the loop with what a failed program leaves unfinished, without a warning for each."""

    async def drain() -> None:
        left = asyncio.all_tasks(loop) - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        loop.run_until_complete(drain())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Monitor(mocks.MockMonitor):
    """Stands where the engine's resource monitor is; called from worker threads."""

    def __init__(
        self, config: Mapping[str, str], stack_outputs: Mapping[str, Mapping[str, Any]], answer: Answer | None
    ) -> None:
        super().__init__(mocks=None)  # type: ignore[arg-type]  # it answers by itself
        self.recording = Recording()
        self.failure: Exception | None = None
        self.unanswered: set[str] = set()
        self.logger = logging.Logger("offline", logging.INFO)  # noqa: LOG001 - private to this run
        self.logger.addHandler(_Messages(self.recording))
        self._config = config
        self._stack_outputs = stack_outputs
        self._answer = answer
        self._lock = threading.Lock()
        self._tokens: dict[str, KnownAfter | Secret] = {}
        self._order: dict[tuple[str, str], int] = {}
        self._by_urn: dict[str, Resource] = {}
        self._lookups: list[str] = []
        self._root = ""

    # What runs on the program's side.

    async def run(self, program: Callable[[], Any], outputs: set[asyncio.Future[Any]]) -> None:
        """Run the program inside the stack that the SDK has just made, and tag what it exports."""
        pulumi.runtime.register_stack_transformation(self._transformation)
        program()
        root = get_root_resource()
        if not isinstance(root, stack.Stack):
            raise TypeError("the program replaced the root stack")
        for name, value in list(root.outputs.items()):
            root.outputs[name] = self._tagged(value)
        # The SDK waits for one output after the other, and looks at all that are left each time.
        failed = False
        while outputs and not failed:
            done, _ = await asyncio.wait(list(outputs), return_when=asyncio.FIRST_EXCEPTION)
            failed = any(output.cancelled() or output.exception() for output in done)

    def _transformation(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        self._order.setdefault((args.type_, args.name), len(self._order))
        if isinstance(args.resource, pulumi.StackReference):
            _tell_outputs_apart(args.resource, self._stack_outputs.get(str(args.props["name"]), {}))
        props = {name: self._tagged(value) for name, value in args.props.items()}
        return pulumi.ResourceTransformationResult(props=props, opts=args.opts)

    def _tagged(self, value: Any) -> Any:
        if isinstance(value, pulumi.Output):
            return self._tagged_output(value)
        if isinstance(value, pulumi.Resource | pulumi.Asset | pulumi.Archive) or inspect.isawaitable(value):
            return value
        if is_input_type(type(value)) and not isinstance(value, dict):
            tagged = copy.copy(value)
            for name, item in list(tagged.__dict__.items()):
                tagged.__dict__[name] = self._tagged(item)
            return tagged
        if isinstance(value, Mapping):
            return {key: self._tagged(value[key]) for key in value}
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | range | memoryview):
            return [self._tagged(item) for item in value]
        return value

    def _tagged_output(self, output: pulumi.Output[Any]) -> pulumi.Output[Any]:
        async def value() -> Any:
            resolved = await output.future(with_unknowns=True)
            known = await output.is_known()
            secret = await output.is_secret()
            urns = [] if known else [await resource.urn.future() for resource in await output.resources()]
            waits_for = None if known else self._waits_for(urn for urn in urns if urn)

            def leaf(item: Any) -> Any:
                if waits_for is not None and (item is None or isinstance(item, pulumi.output.Unknown)):
                    return self._token(Secret(waits_for) if secret else waits_for)
                if secret and isinstance(item, str | int | float):
                    return self._token(Secret(item))
                return self._tagged(item)

            return transform(resolved, leaf)  # containers keep their known parts

        resources: asyncio.Future[set[pulumi.Resource]] = asyncio.ensure_future(output.resources())
        known: asyncio.Future[bool] = asyncio.Future()
        known.set_result(True)
        return pulumi.Output(resources, asyncio.ensure_future(value()), known)

    def _token(self, meaning: KnownAfter | Secret) -> str:
        token = f"offline-{uuid.uuid4()}"
        with self._lock:
            self._tokens[token] = meaning
        return token

    def _waits_for(self, urns: Iterable[str]) -> KnownAfter:
        """What a value that depends on these resources waits for: the most telling of them."""
        with self._lock:
            resources = [self._by_urn[urn] for urn in urns if urn in self._by_urn]
            lookups = sorted(set(self._lookups))
        events: dict[int, set[str]] = {}
        for resource in resources:
            rank, event = self._event(resource)
            events.setdefault(rank, set()).add(event)
        if events:
            return KnownAfter(" and ".join(sorted(events[min(events)])[:2]))
        return KnownAfter(f"a look-up by {' and '.join(lookups)}" if lookups else "a real run")

    def _event(self, resource: Resource) -> tuple[int, str]:
        if resource.type == STACK_REFERENCE_TYPE:
            return 1, f"an update of stack {resource.inputs.get('name', resource.name)}"
        model = self._model_of(resource)
        if model is not None:
            return 0, f"{_step_of(resource)} of {model}"
        if resource.type == COMMAND_TYPE:
            return 1, f"command {resource.name}"
        kind = resource.type.split(":")[-1]
        verb = "a look-up" if resource.read else "creation"
        return 3 if is_settled(resource.type) else 2, f"{verb} of {kind} {resource.name}"

    def _model_of(self, resource: Resource) -> str | None:
        """The model whose image the resource belongs to, by its component or, without one, by the image itself."""
        at: Resource | None = resource
        while at is not None and at.type != MODEL_IMAGE_TYPE:
            at = self._by_urn.get(at.parent)
        if at is not None:
            return at.name
        return resource.name if resource.type == IMAGE_TYPE else None

    # What runs on the engine's side.

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """Record a resource and answer with its inputs, what is computed from them, and the caller's answer."""
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            self._root = urn
            return resource_pb2.RegisterResourceResponse(urn=urn)
        resource = self._recorded(request, urn, request.object, component=not request.custom)
        id_, state = self._state(resource)
        _hide(state, request.additionalSecretOutputs)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=id_, object=_struct(state))

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """Record a look-up; a stack reference is answered with the outputs that the caller gave."""
        urn = self.make_urn(request.parent, request.type, request.name)
        resource = self._recorded(request, urn, request.properties, read=True)
        if request.type == STACK_REFERENCE_TYPE:
            state = self._referenced(request.id)
        else:
            _, state = self._state(resource)
        return resource_pb2.ReadResourceResponse(urn=urn, id=request.id, properties=_struct(state))

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """Keep what the stack exports."""
        if request.urn == self._root:
            data = json_format.MessageToDict(request.outputs)
            self.recording.outputs = {name: self._decoded(value, ()) for name, value in sorted(data.items())}
        return empty_pb2.Empty()

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """Answer a look-up: of the client's own settings from the configuration, else as known only later."""
        if request.tok == "gcp:organizations/getClientConfig:getClientConfig":
            result: dict[str, Any] = {name: self._config.get(f"gcp:{name}") for name in ("project", "region", "zone")}
            result |= {"accessToken": MASK, "id": "client", "defaultLabels": {}}
            return resource_pb2.ResourceInvokeResponse(**{"return": _struct(result)})
        if request.tok.startswith("pulumi:pulumi:readStack"):
            return resource_pb2.ResourceInvokeResponse(**{"return": _struct({"outputs": {}})})  # there is no state
        if request.tok == "gcp:artifactregistry/getRepository:getRepository":
            # A plan looks at nothing of Google's: a real run refuses a repository whose tags can move.
            return resource_pb2.ResourceInvokeResponse(
                **{"return": _struct({"dockerConfigs": [{"immutableTags": True}]})}
            )
        with self._lock:
            self._lookups.append(request.tok.split(":")[-1])
        return resource_pb2.ResourceInvokeResponse(unknown=True)

    def _recorded(
        self, request: Any, urn: str, properties: Any, *, read: bool = False, component: bool = False
    ) -> Resource:
        after = getattr(request, "propertyDependencies", {})
        data = _without_nulls(json_format.MessageToDict(properties))
        inputs = {
            name: self._decoded(value, after[name].urns if name in after else ())
            for name, value in sorted(data.items())
        }
        _hide(inputs, _ALWAYS_SECRET.get(request.type, ()))
        with self._lock:
            resource = Resource(
                urn=urn,
                type=request.type,
                name=request.name,
                parent="" if request.parent == self._root else request.parent,
                inputs=inputs,
                dependencies=tuple(sorted(set(request.dependencies))),
                read=read,
                component=component,
                order=self._order.get((request.type, request.name), len(self._order)),
                options={} if read else _options(request, self._root),
            )
            if urn in self._by_urn:
                error = InputError(f"two resources have the same type, name and parent type: {urn}: rename one")
                raise self._failed(error)
            self._by_urn[urn] = resource
            self.recording.resources.append(resource)
        return resource

    def _decoded(self, value: Any, urns: Iterable[str]) -> Any:
        if isinstance(value, list):
            return [self._decoded(item, urns) for item in value]
        if isinstance(value, dict):
            rest = {key: self._decoded(item, urns) for key, item in sorted(value.items()) if key != _SIGNATURE}
            if _SIGNATURE not in value:
                return rest
            if value[_SIGNATURE] == _SECRET_SIGNATURE:
                return transform(rest.get("value"), _secret)
            # A resource is named by its URN, an asset or archive by what it is made of.
            return rest.get("urn", rest)
        if isinstance(value, str):
            return self._waits_for(urns) if value == rpc.UNKNOWN else self._tokens.get(value, value)
        # The wire has one type for numbers.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _state(self, resource: Resource) -> tuple[str, dict[str, Any]]:
        if resource.component:
            return "", {}
        state = {**resource.inputs, **computed_outputs(resource.type, resource.inputs, self._config)}
        if self._answer is not None:
            try:
                state |= self._answer(resource) or {}
            except Exception as error:
                raise self._failed(error) from error
        id_ = state.pop("id", "")
        return id_ if isinstance(id_, str) else "", state

    def _referenced(self, stack_name: str) -> dict[str, Any]:
        outputs = self._stack_outputs.get(stack_name)
        if outputs is None:
            # The program goes on, so that all such references are found in one run.
            self.unanswered.add(stack_name)
            return {"name": stack_name, "outputs": KnownAfter("an answer"), "secretOutputNames": []}
        secret_names = [name for name, value in outputs.items() if isinstance(value, Secret)]
        return {"name": stack_name, "outputs": dict(outputs), "secretOutputNames": secret_names}

    def _failed(self, error: Exception) -> Exception:
        """Keep the first failure: the SDK reports it among those that only follow from it."""
        self.failure = self.failure or error
        return error


def _step_of(resource: Resource) -> str:
    """What a resource of a model's image does: an image that exists is copied or checked, another is built."""
    verb = resource.runs.arguments[:1] if resource.runs else []
    return {"copy": "copy", "inspect": "check"}.get("".join(verb), "build")


def _options(request: Any, root: str) -> dict[str, Any]:
    """The options that decide over a resource's life, as far as the program sets them."""
    options = {
        "aliases": sorted({_alias(request, one, root) for one in request.aliases} | {*map(_tail, request.aliasURNs)}),
        "deletedWith": _tail(request.deletedWith),
        "ignoreChanges": sorted(request.ignoreChanges),
        "protect": request.protect,
        "replaceOnChanges": sorted(request.replaceOnChanges),
        "retainOnDelete": request.retainOnDelete,
    }
    # False is said as well: a provider's own choice would be another one.
    said = {"deleteBeforeReplace": request.deleteBeforeReplace} if request.deleteBeforeReplaceDefined else {}
    return {name: value for name, value in options.items() if value} | said


def _tail(urn: str) -> str:
    """The types and the name in a URN: what a stack's and a project's own name do not decide."""
    return urn.split("::", 2)[-1].removeprefix(f"{STACK_TYPE}$")


def _alias(request: Any, alias: Any, root: str) -> str:
    if alias.urn:
        return _tail(alias.urn)
    spec = alias.spec
    parent = "" if spec.noParent else spec.parentUrn or request.parent
    types = "" if parent == root else _tail(parent).rpartition("::")[0]
    own = f"{spec.type or request.type}::{spec.name or request.name}"
    return f"{types}${own}" if types else own


class _AtOnce(ThreadPoolExecutor):
    """Runs a call where it is made: an answer that needs no work is there sooner than a thread."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        done: Future[_T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
            done.set_exception(error)
        return done


class _Messages(logging.Handler):
    """Keeps what the program logs (`pulumi.log.warn`) for the caller to show."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def emit(self, record: logging.LogRecord) -> None:
        self._recording.messages.append((record.levelname.lower(), record.getMessage()))


def _tell_outputs_apart(reference: pulumi.StackReference, outputs: Mapping[str, Any]) -> None:
    """Let each output of another stack be known, or not, by itself.

    To the SDK all outputs are one value: it assumes an engine, which knows them all. Here a stack may have been
    planned only, and one unknown output would make the digests of all its models unknown.
    """

    def get_output(name: pulumi.Input[str]) -> pulumi.Output[Any]:
        def pick(read: list[Any]) -> Any:
            return read[1].get(read[0]) if isinstance(read[1], dict) else read[1]

        async def is_secret() -> bool:
            return isinstance(outputs.get(await pulumi.Output.from_input(name).future() or ""), Secret)

        found: pulumi.Output[Any] = pulumi.Output.all(name, reference.outputs).apply(pick, run_with_unknowns=True)
        # As the SDK does: one secret output makes `outputs` secret, but not the other outputs.
        return pulumi.Output(
            asyncio.ensure_future(found.resources()),
            asyncio.ensure_future(found.future(with_unknowns=True)),
            asyncio.ensure_future(found.is_known()),
            asyncio.ensure_future(is_secret()),
        )

    def require_output(name: pulumi.Input[str]) -> pulumi.Output[Any]:
        def present(read: list[Any]) -> Any:
            if read[1] is None:
                raise KeyError(read[0])
            return read[1]

        return pulumi.Output.all(name, get_output(name)).apply(present)

    vars(reference).update(get_output=get_output, require_output=require_output)


def _without_nulls(value: Any) -> Any:
    """An input as the provider gets it: a key without value is a key that is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _secret(value: Any) -> Any:
    return value if value is None or isinstance(value, Secret) else Secret(value)


def _hide(values: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if name in values:
            values[name] = transform(values[name], _secret)


def _struct(state: Mapping[str, Any]) -> struct_pb2.Struct:
    """The state as the engine would send it."""

    def leaf(value: Any) -> Any:
        if isinstance(value, KnownAfter):
            return rpc.UNKNOWN
        if isinstance(value, Secret):
            return {_SIGNATURE: _SECRET_SIGNATURE, "value": leaf(value.value)}
        return value

    struct = struct_pb2.Struct()
    struct.update(transform(dict(state), leaf))
    return struct
