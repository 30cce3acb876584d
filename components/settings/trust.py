"""The keys of who signs images and whose signature counts: types, bounds, defaults and what each means."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.settings.types import Section

_KMS = re.compile(
    r"gcpkms://projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+/(cryptoKeyVersions|versions)/\d+"
)


def _key(value: str) -> str:
    if "PRIVATE KEY-----" in value:
        raise ValueError("holds a private key: remove it, make a new one, and write the path of its file or gcpkms://…")
    if value.startswith("gcpkms://") and not _KMS.fullmatch(value):
        raise ValueError(
            "names no version of a key: write gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1"
        )
    if not value.strip() or (value.startswith("-") and not value.startswith("-----BEGIN PUBLIC KEY-----")):
        raise ValueError("is no key: write the path of a file, PEM text or gcpkms://…")
    return value


KeyName = Annotated[str, AfterValidator(_key)]


class SignSettings(Section):
    """Who signs and attests what the stack builds: exactly one of `key` and `keyless`."""

    key: Annotated[
        KeyName | None,
        Field(description="private key: path of a file (its password in COSIGN_PASSWORD), or gcpkms://… version"),
    ] = None
    keyless: Annotated[bool, Field(description="sign as the workflow that runs `up`, by GitHub's OIDC")] = False
    files: Annotated[
        bool, Field(description="attest each file too (OpenSSF model-signing): the image is read whole after its build")
    ] = False

    @model_validator(mode="after")
    def _one(self) -> "SignSettings":
        if bool(self.key) == self.keyless:
            raise ValueError("has both or none of key and keyless: write exactly one")
        if self.key and self.key.startswith("-----BEGIN"):
            raise ValueError("has a public key: write the path of the private key's file, or gcpkms://…")
        return self


class SignerSettings(Section):
    """Somebody whose signature counts: a key, or an identity with its issuer."""

    key: Annotated[KeyName | None, Field(description="public key: PEM text, path of a file, or gcpkms://… version")] = (
        None
    )
    identity: Annotated[
        str | None, Field(min_length=1, description="who signed without a key: a workflow's address, or an email")
    ] = None
    issuer: Annotated[
        str | None,
        Field(
            pattern=r"^https://\S+$",
            description="who vouches for identity, as https://token.actions.githubusercontent.com",
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> "SignerSettings":
        if bool(self.key) == bool(self.identity or self.issuer) or bool(self.identity) != bool(self.issuer):
            raise ValueError("names nobody, or two: write either key, or identity and issuer")
        return self


class VerifySettings(Section):
    """Whose signature an image needs before it is copied or served: that of any one of `signers`."""

    signers: Annotated[tuple[SignerSettings, ...], Field(strict=False, min_length=1, description="any one suffices")]
    attestations: Annotated[
        tuple[Literal["provenance", "bom", "files"], ...],
        Field(strict=False, description="what one of them must have attested of it as well"),
    ] = ()
