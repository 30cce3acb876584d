"""Stands where the real providers are: one process for each package, as the engine starts them.

`python -m tests.engine.provider PACKAGE [ENGINE]` prints its port and serves until the engine ends it. Resources are
kept by the engine's state alone. Inputs become outputs, with what `kinds` adds; local commands are really run.
"""

import os
import re
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine.provider import command, kinds, switches, wire
from tests.engine.provider.command import CommandFailedError, Commands

_PARALLEL = 64
"""The engine has no bound of its own on what it asks at once; each call that waits holds a thread."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The protocol, for a package whose resources nobody knows but the engine."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._config: dict[str, str] = {}
        self._engine: Any = None
        self._cancelled = threading.Event()
        self._commands = Commands(self._log)

    # The provider itself.

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802 - names of the protocol
        self.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=version(f"pulumi-{self._package}"))

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.Diff(request, context)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        args = wire.plain(wire.read(request.args))
        self._config = {f"{self._package}:{key}": str(value) for key, value in args.items()}
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.stop()
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        switches.note("invoke", request.tok)
        try:
            found = kinds.invoked(request.tok, self._config)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        return provider_pb2.InvokeResponse(**{"return": wire.written(found)})

    # Its resources.

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        before, after = (wire.plain(wire.read(side)) for side in (request.old_inputs, request.news))
        changes = kinds.changes(_type(request.urn), before, after)
        replacing = [change.path for change in changes if change.replaces]
        detailed = {
            change.path: provider_pb2.PropertyDiff(
                kind=provider_pb2.PropertyDiff.Kind.Value(f"{change.kind}_REPLACE" if change.replaces else change.kind)
            )
            for change in changes
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({re.split(r"[.\[]", change.path)[0] for change in changes}),
            replaces=replacing,
            deleteBeforeReplace=bool(replacing) and kinds.deletes_first(_type(request.urn), before, after),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        inputs = wire.read(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_previewed(request.urn, inputs))
        switches.note("create", request.urn)
        self._take_time(request.urn, context)
        failure = switches.matching(switches.read().fails, request.urn)
        if failure is not None:
            context.abort(grpc.StatusCode.UNKNOWN, failure)
        id_, outputs = self._made(request.urn, "create", inputs, {}, context)
        switches.note("created", request.urn, id=id_)
        return provider_pb2.CreateResponse(id=id_, properties=wire.written({**inputs, **outputs}))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        inputs, state = wire.read(request.inputs), wire.read(request.properties)
        reported = switches.matching(switches.read().reported, request.urn) or {}
        switches.note("read", request.urn)
        return provider_pb2.ReadResponse(
            id=request.id,
            inputs=wire.written(_merged(inputs, reported)),
            properties=wire.written(_merged(state, reported)),
        )

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        inputs, before = wire.read(request.news), wire.read(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_previewed(request.urn, inputs))
        switches.note("update", request.urn)
        self._take_time(request.urn, context)
        _, outputs = self._made(request.urn, "update", inputs, before, context)
        switches.note("updated", request.urn)
        return provider_pb2.UpdateResponse(properties=wire.written({**inputs, **outputs}))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = wire.plain(wire.read(request.properties))
        switches.note("delete", request.urn, id=request.id)
        self._take_time(request.urn, context)
        refusal = kinds.refuses_delete(_type(request.urn), state)
        if refusal is not None:
            context.abort(grpc.StatusCode.UNKNOWN, refusal)
        if _type(request.urn) == command.TYPE:
            self._run(request.urn, "delete", state, state, context)
        switches.note("deleted", request.urn, id=request.id)
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End what runs, and what takes its time."""
        self._cancelled.set()
        self._commands.stop()

    def attach(self, engine: str) -> None:
        """Remember where the engine takes messages."""
        if engine:
            self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine))

    def _made(
        self, urn: str, step: str, inputs: wire.Properties, before: wire.Properties, context: Any
    ) -> tuple[str, dict[str, Any]]:
        known = wire.plain(inputs)
        id_, outputs = kinds.made(_type(urn), _name(urn), known, self._config)
        if _type(urn) == command.TYPE:
            outputs |= self._run(urn, step, known, wire.plain(before), context)
        return id_, outputs

    def _run(
        self, urn: str, step: str, inputs: Mapping[str, Any], before: Mapping[str, Any], context: Any
    ) -> dict[str, str]:
        try:
            return self._commands.run(urn, step, inputs, before)
        except (CommandFailedError, OSError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise

    def _take_time(self, urn: str, context: Any) -> None:
        seconds = switches.matching(switches.read().slow, urn)
        if seconds is not None and self._cancelled.wait(seconds):
            context.abort(grpc.StatusCode.CANCELLED, "the operation was cancelled")

    def _log(self, urn: str, text: str) -> None:
        if self._engine is not None:
            with suppress(grpc.RpcError):  # an engine that was killed listens no longer
                self._engine.Log(engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn))


def _previewed(urn: str, inputs: wire.Properties) -> Any:
    """What is known of a resource before it is made: its inputs, and that a command will have said something."""
    later = dict.fromkeys(command.OUTPUTS, wire.UNKNOWN) if _type(urn) == command.TYPE else {}
    return wire.written({**inputs, **later})


def _merged(properties: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(properties)
    for key, value in more.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def main() -> None:
    """Serve until the engine that started this has ended."""
    package, *engine = sys.argv[1:]
    engine_process = os.getppid()
    switches.note_process()
    provider = Provider(package)
    provider.attach("".join(engine[:1]))
    server = grpc.server(ThreadPoolExecutor(_PARALLEL), options=[("grpc.max_receive_message_length", 400 << 20)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # An engine that was killed ends nobody.
    while os.getppid() == engine_process:
        server.wait_for_termination(timeout=1)
    provider.stop()


if __name__ == "__main__":
    main()
