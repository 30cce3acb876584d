"""What the packer's commands are told of who signs an image, and of whose signature it needs. Pure."""

from components.settings.images import StackImage
from components.settings.trust import SignSettings, VerifySettings


def by(sign: SignSettings) -> list[str]:
    """Who signs."""
    return ["--keyless"] if sign.key is None else ["--key", sign.key]


def facts(image: StackImage, sign: SignSettings) -> list[str]:
    """What is attested of an image that is built here."""
    model = image.settings
    options = ["--source", model.source or "", "--base", image.base, "--builder", model.builder]
    if model.licence:
        options += ["--licence", model.licence]
    files = model.files.model_dump(by_alias=True, exclude_none=True)
    for name, value in sorted(files.items()):
        values = value if isinstance(value, list | tuple) else [value]
        options += [word for one in values for word in ("--parameter", f"{name}={one}")]
    return [*options, "--parameter", f"platform={image.runs_on}", *(["--files"] if sign.files else [])]


def wanted(verify: VerifySettings) -> list[str]:
    """Whose signature counts, and what must be attested."""
    options: list[str] = []
    for one in verify.signers:
        options += ["--key", one.key] if one.key else ["--identity", one.identity or "", "--issuer", one.issuer or ""]
    return [*options, *(word for kind in verify.attestations for word in ("--attestation", kind))]
