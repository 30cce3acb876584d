"""`oms image sign`, `verify` and `attest`: who vouches for an image."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from oms.convention import interruptible, json_option, print_json

_reference = click.argument("reference", metavar="REF")
_key = click.option(
    "--key",
    help="Private key: a PEM file, cosign's or gcpkms://projects/…/cryptoKeyVersions/N. The password of an encrypted "
    "file is read from COSIGN_PASSWORD.",
    metavar="FILE|gcpkms://…",
)
_keyless = click.option(
    "--keyless", help="Sign as the workflow that runs this, by GitHub's OIDC and Sigstore.", is_flag=True
)


def _told(run: Callable[..., Any], *arguments: Any, as_json: bool, **settings: Any) -> None:
    from modelimage.progress import reporting

    with interruptible("what was attached stays; run the same command again to go on"), reporting() as reporter:
        result: dict[str, Any] = run(*arguments, reporter=reporter, **settings).as_json()
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        if isinstance(value, Mapping):
            for kind, entry in value.items():
                print(f"{name}: {kind}  {entry}")
        elif isinstance(value, str):
            print(f"{name}: {value}")
        else:
            for entry in value:
                print(f"{name}: {entry}")


def _trust() -> Any:
    from oci_model_serving.errors import OmsError

    try:
        from modelimage.signing import trust
    except ModuleNotFoundError as error:
        raise OmsError(
            f"{error.name} is not installed, which has no wheel for Intel Macs: use another machine"
        ) from error
    return trust


def _one_hand(key: str | None, *, keyless: bool) -> str | None:
    if bool(key) == keyless:
        raise click.UsageError("give one of --key and --keyless: who signs is never guessed")
    return key


@click.command()
@_reference
@_key
@_keyless
@json_option
def sign(*, reference: str, key: str | None, keyless: bool, as_json: bool) -> None:
    """Sign an image, as cosign v3 does: a Sigstore bundle, attached to its digest.

    What this key has signed already stays as it is.

    REF: HOST/REPO@sha256:… or oci:FOLDER@sha256:…
    """
    _told(_trust().sign, reference, key=_one_hand(key, keyless=keyless), as_json=as_json)


@click.command()
@_reference
@click.option(
    "--key",
    "keys",
    help="Public key: PEM text, a PEM file or gcpkms://…/cryptoKeyVersions/N; may be given several times.",
    multiple=True,
    metavar="PEM|FILE|gcpkms://…",
)
@click.option(
    "--identity",
    "identities",
    help="Who signed without a key: the address of a workflow, or an email; with --issuer, several times.",
    multiple=True,
    metavar="NAME",
)
@click.option(
    "--issuer",
    "issuers",
    help="Who vouches for the identity before it, as https://token.actions.githubusercontent.com.",
    multiple=True,
    metavar="URL",
)
@click.option(
    "--attestation",
    "attestations",
    help="One that it must have, of any of them: provenance, bom, files or a predicate's address; several times.",
    multiple=True,
    metavar="KIND",
)
@click.option(
    "--trusted-root",
    "root",
    help="What certificates and logs are believed  [default: Sigstore's own].",
    default="",
    metavar="FILE",
)
@json_option
def verify(
    *, reference: str, identities: tuple[str, ...], issuers: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Fail unless an image is signed by one of those who are named.

    REF: HOST/REPO@sha256:… or oci:FOLDER@sha256:…
    """
    if len(identities) != len(issuers):
        raise click.UsageError("each --identity has an --issuer behind it: the same name at another issuer is another")
    _told(_trust().verify, reference, identities=tuple(zip(identities, issuers, strict=True)), as_json=as_json, **given)


def _parameters(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r}: write NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


@click.command()
@_reference
@_key
@_keyless
@click.option("--source", help="What it was packed from, as `oms image pack` was told.", default="", metavar="SRC")
@click.option("--base", help="What it was built upon, by digest.", default="scratch", show_default=True, metavar="REF")
@click.option(
    "--builder",
    help="What packed it.",
    type=click.Choice(["direct", "docker", "cloudbuild", "cluster"]),
    default="direct",
    show_default=True,
)
@click.option("--licence", help="Of the weights, as apache-2.0.", default="", metavar="ID")
@click.option(
    "--parameter",
    "parameters",
    help="How it was packed, as allow=*.safetensors; several times.",
    multiple=True,
    callback=_parameters,
    metavar="NAME=VALUE",
)
@click.option("--files", help="Attest each of its files too (OpenSSF model-signing): it is read whole.", is_flag=True)
@json_option
def attest(*, reference: str, key: str | None, keyless: bool, files: bool, as_json: bool, **facts: Any) -> None:
    """Attest what an image was made of: SLSA provenance and a CycloneDX bill of materials.

    REF: HOST/REPO@sha256:… or oci:FOLDER@sha256:…
    """
    trust = _trust()
    _told(
        trust.attest, reference, trust.Facts(**facts), key=_one_hand(key, keyless=keyless), files=files, as_json=as_json
    )
