"""The command line: ``python -m modelimage COMMAND``.

Results go to stdout (one JSON object with ``--json``), everything else to stderr. Exit codes: 0 done, 1 failed, 2 bad
arguments or input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from modelimage.errors import ImageError
from modelimage.progress import readable, reporting

INTERRUPTED = 130
_PACK_SOURCES = "a folder, hf://org/name@<40-hex commit> or gs://bucket/prefix"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    # Google's libraries warn of each Python version's end of life, at every start, among our own messages.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    # `docker stop`, CI and Pulumi end a command by SIGTERM: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        result: dict[str, Any] = options.run(options)
    except ImageError as error:
        print(_error_text(error), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}: check the path, and what this user may do", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "interrupted: no manifest and no tag was written; run the same command again to go on: layers that are "
            "there already are not sent again",
            file=sys.stderr,
        )
        return INTERRUPTED
    try:
        _show(result, as_json=options.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is left to say, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, UnicodeEncodeError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        done = result.get("reference") or result.get("context") or result.get("folder") or "the command"
        print(f"error: the result cannot be written to stdout ({error}); this is done: {done}", file=sys.stderr)
        return 1
    return 0


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _error_text(error: ImageError) -> str:
    return "\n".join(f"error: {line}" for line in str(error).splitlines())


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        if key == "layers":
            print(f"layers: {len(value)}")
            for layer in value:
                moved = ", uploaded" if layer["uploaded"] else ""
                print(f"  {layer['digest']}  {readable(layer['size_bytes'])}{moved}")
        elif key == "size_bytes":
            print(f"size: {readable(value)} ({value} bytes)")
        elif isinstance(value, dict):
            print(f"{key}:")
            for name, entry in value.items():
                print(f"  {name}: {entry if isinstance(entry, str) else json.dumps(entry)}")
        else:
            print(f"{key.replace('_', ' ')}: {str(value).lower() if isinstance(value, bool) else value}")


def _pack(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.packer import pack  # noqa: PLC0415 - `--help` need not load HTTP libraries

    with reporting() as reporter:
        return pack(
            options.source,
            options.destination,
            base=options.base,
            jobs=options.jobs,
            allow=options.allow,
            ignore=options.ignore,
            cache=options.cache,
            reporter=reporter,
        ).as_json()


def _inspect(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.transfer import inspect  # noqa: PLC0415

    with reporting() as reporter:
        return inspect(options.reference, require_digest_tag=options.require_digest_tag, reporter=reporter).as_json()


def _tag(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.transfer import tag  # noqa: PLC0415

    with reporting() as reporter:
        return tag(options.reference, reporter=reporter).as_json()


def _copy(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.transfer import copy  # noqa: PLC0415

    with reporting() as reporter:
        return copy(
            options.reference, options.destination, jobs=options.jobs, cache=options.cache, reporter=reporter
        ).as_json()


def _context(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.build_context import write_context  # noqa: PLC0415

    with reporting() as reporter:
        return write_context(
            options.source,
            options.folder,
            base=options.base,
            allow=options.allow,
            ignore=options.ignore,
            cache=options.cache,
            reporter=reporter,
        ).as_json()


def _cloudbuild(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.cloud_build import BuildPlace, pack_in_cloud_build  # noqa: PLC0415

    place = BuildPlace(
        options.project,
        options.region,
        options.service_account,
        options.machine_type,
        options.timeout,
        options.step_image,
        options.hf_token_secret,
    )
    with reporting() as reporter:
        return pack_in_cloud_build(
            options.source,
            options.destination,
            place,
            base=options.base,
            allow=options.allow,
            ignore=options.ignore,
            reporter=reporter,
        ).as_json()


def _base(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.busybox import write_base  # noqa: PLC0415

    with reporting() as reporter:
        return write_base(options.folder, options.busybox, reporter=reporter).as_json()


def _tiny(options: argparse.Namespace) -> dict[str, Any]:
    from modelimage.tiny import write_tiny_model  # noqa: PLC0415

    folder = write_tiny_model(options.folder, shards=options.shards, seed=options.seed)
    return {"folder": str(folder), "size_bytes": sum(file.stat().st_size for file in folder.iterdir())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modelimage",
        description="Weights to one OCI image, without a daemon. The digest that is printed is the image's name.",
        epilog="Registries' credentials: MODELIMAGE_USERNAME and MODELIMAGE_PASSWORD, Docker's configuration and "
        "credential helpers, or Google application default credentials for *.pkg.dev.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    pack = _command(commands, "pack", _pack, "pack weights as an image into a registry or an image layout folder")
    pack.add_argument("source", metavar="SRC", help=_PACK_SOURCES)
    pack.add_argument("destination", metavar="DEST", help="HOST/REPO:TAG, HOST/REPO or oci:FOLDER")
    _add_base(pack)
    _add_transfer(pack)
    _add_selection(pack)

    inspect = _command(commands, "inspect", _inspect, "show an image that exists")
    inspect.add_argument("reference", metavar="REF", help="HOST/REPO@sha256:…, HOST/REPO:TAG or oci:FOLDER[@sha256:…]")
    inspect.add_argument(
        "--require-digest-tag", action="store_true", help="fail unless the tag sha256-<hex> points to the image"
    )

    tag = _command(commands, "tag", _tag, "give an image in a registry the tag that spells its digest, sha256-<hex>")
    tag.add_argument("reference", metavar="REF", help="HOST/REPO@sha256:…")

    copy = _command(commands, "copy", _copy, "copy an image by digest into another repository")
    copy.add_argument("reference", metavar="REF", help="HOST/REPO@sha256:… or oci:FOLDER@sha256:…")
    copy.add_argument("destination", metavar="DEST", help="HOST/REPO, HOST/REPO:TAG or oci:FOLDER")
    _add_transfer(copy)

    context = _command(commands, "context", _context, "prepare a Docker build context with the same layers")
    context.add_argument("source", metavar="SRC", help=_PACK_SOURCES)
    context.add_argument("folder", metavar="FOLDER", help="the context to write, on the file system of the weights")
    _add_base(context)
    _add_cache(context)
    _add_selection(context)

    _add_cloudbuild(commands)

    base = _command(commands, "base", _base, "make a minimal base image for modelcars from a static busybox")
    base.add_argument("folder", metavar="FOLDER", help="the image layout folder to write")
    base.add_argument("--busybox", required=True, metavar="PATH", help="a static busybox for x86-64")

    tiny = _command(commands, "tiny", _tiny, "write a small valid Qwen2 model folder with random weights")
    tiny.add_argument("folder", metavar="FOLDER", help="the folder to write, new or empty")
    tiny.add_argument("--shards", type=int, default=2, metavar="N", help="safetensors files (default: 2)")
    tiny.add_argument("--seed", type=int, default=0, metavar="N", help="of the random weights (default: 0)")
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return command


def _add_base(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base",
        default="scratch",
        metavar="REF|scratch",
        help="image to build upon, by digest: HOST/REPO@sha256:… or oci:FOLDER@sha256:… . KServe's modelcar needs one "
        "with sh, ln and sleep, such as busybox; image volumes need none (default: scratch)",
    )


def _add_selection(command: argparse.ArgumentParser) -> None:
    for name, what in (("--allow", "take only files that match"), ("--ignore", "leave out files that match")):
        command.add_argument(
            name, action="append", default=[], metavar="GLOB", help=f"{what} (may be given several times)"
        )


def _add_cloudbuild(commands: Any) -> None:
    build = _command(commands, "cloudbuild", _cloudbuild, "pack in Google Cloud Build, away from this machine")
    build.add_argument("source", metavar="SRC", help="hf://org/name@<40-hex commit> or gs://bucket/prefix")
    build.add_argument("destination", metavar="DEST", help="HOST/REPO:TAG or HOST/REPO")
    build.add_argument("--project", required=True, help="Google Cloud project that the build runs in")
    build.add_argument("--region", required=True, help="region that the build runs in, as us-central1")
    build.add_argument("--service-account", metavar="EMAIL", help="account of the build (default: the project's)")
    build.add_argument("--machine-type", metavar="TYPE", help="as E2_HIGHCPU_8 (default: Cloud Build's own)")
    build.add_argument(
        "--timeout", type=int, default=7200, metavar="SECONDS", help="longest time of the build (default: 7200)"
    )
    build.add_argument(
        "--step-image",
        default="python:3.12-slim",
        metavar="REF",
        help="image with Python >= 3.10 and pip that the step runs in, best by digest (default: python:3.12-slim)",
    )
    build.add_argument(
        "--hf-token-secret",
        metavar="VERSION",
        help="Secret Manager version with a Hugging Face token: projects/P/secrets/S/versions/V",
    )
    _add_base(build)
    _add_selection(build)


def _add_transfer(command: argparse.ArgumentParser) -> None:
    command.add_argument("--jobs", type=int, default=4, metavar="N", help="layers under way at once (default: 4)")
    _add_cache(command)


def _add_cache(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="where digests are remembered (default: oci-model-serving in the XDG cache folder)",
    )
