"""What is attested of an image: where it comes from, what is in it, and each of its files.

Provenance is SLSA's (v1), the bill of materials CycloneDX's (1.6, with the model as its subject), the files
OpenSSF model-signing's (1.1.1, `_signing/signing.py`), whose own command verifies them. The same image and the same
facts give the same bytes, so that nothing is attested twice.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from modelimage import hub_address
from modelimage.documents import EPOCH
from modelimage.errors import ImageError
from modelimage.fit import find_model
from modelimage.image_source import CheckedImage
from modelimage.images import SCRATCH, Session, StoredImage, load_image
from modelimage.listing import list_files
from modelimage.rootfs import Contents
from modelimage.signing.bundles import statement
from modelimage.stores import Reader
from modelimage.traits import Traits
from modelimage.writing import DEFAULT_JOBS

PROVENANCE = "https://slsa.dev/provenance/v1"
BOM = "https://cyclonedx.org/bom"
"""in-toto's name of the CycloneDX predicate, which is cosign's type `cyclonedx` too."""
FILES = "https://model_signing/signature/v1.0"
PREDICATES: Mapping[str, str] = {"provenance": PROVENANCE, "bom": BOM, "files": FILES}
"""What a person calls the attestations."""
PACKER_VERSION = "0.1.0"
"""Of the code that attests, as in pyproject.toml."""
_BUILD_TYPE = "urn:oci-model-serving:pack:v1"
_BUILDER = "urn:oci-model-serving:builder:"
_SERIAL = uuid.UUID("5a0f6f0e-6f62-5c7e-9a55-6f6d732d626f")
"""The name space of our bills' serial numbers: one for each image."""


@dataclass(frozen=True)
class Facts:
    """What whoever attests knows of an image beside the image itself.

    Attributes:
        source: what it was packed from: `hf://org/name@<commit>`, `gs://…`, `oci://…` or a folder.
        base: the image that it was built upon, by digest.
        builder: what packed it, as a stack calls it.
        licence: of the weights, by its SPDX identifier or the hub's.
        parameters: how it was packed.
    """

    source: str = ""
    base: str = SCRATCH
    builder: str = "direct"
    licence: str = ""
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)


def statements_on(
    store: Reader, digest: str, where: str, facts: Facts, session: Session, *, files: bool
) -> dict[str, bytes]:
    """All statements on an image, by their predicates; of its files where they are asked for, by reading it whole.

    Raises:
        ImageError: it cannot be read, or holds no model.
    """
    image = load_image(store, digest, where)
    layers = image.manifest.layers
    hashes: dict[str, str] = {}
    if files:
        checked = CheckedImage.read(store, layers, session, DEFAULT_JOBS)
        try:
            folder, hashes = _hashes(checked, where)
        finally:
            checked.close()
        contents = checked.contents
    else:
        folder, contents = "", list_files(store, layers, stop=session.stop)
    made = {
        PROVENANCE: statement(PROVENANCE, digest, provenance(facts)),
        BOM: statement(BOM, digest, bill(image, contents, facts, hashes)),
    }
    if files:
        made[FILES] = on_files(digest, folder, hashes)
    return made


def _hashes(checked: CheckedImage, where: str) -> tuple[str, dict[str, str]]:
    """The model's folder, and the SHA-256 of each file below it."""
    model = find_model(checked.contents)
    if model is None:
        raise ImageError(f"{where}: no model was found in it, of which the files could be attested")
    files = checked.contents.files(model.folder)
    found = {path: str(checked.source_file(path, content).sha256) for path, content in files}
    return model.folder, {path: digest.removeprefix("sha256:") for path, digest in found.items()}


def provenance(facts: Facts) -> dict[str, Any]:
    """How an image came to be (SLSA v1, "Provenance")."""
    parameters = {name: list(values) for name, values in sorted(facts.parameters.items())}
    known = {"source": facts.source, "base": facts.base, **parameters}
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": {name: value for name, value in known.items() if value},
            "internalParameters": {},
            "resolvedDependencies": [*_source(facts.source), *_base(facts.base)],
        },
        "runDetails": {
            "builder": {"id": _BUILDER + facts.builder, "version": {"oci-model-serving": PACKER_VERSION}},
            "metadata": {},
        },
    }


def _source(source: str) -> list[dict[str, Any]]:
    """Where weights come from, as a dependency: a commit of the hub has its digest, an image too."""
    if hub_address.is_pinned(source):
        at = hub_address.parse(source)
        return [{"uri": f"{hub_address.HUB}/{at.repository}", "digest": {"gitCommit": at.revision}}]
    address, at_sign, digest = source.partition("@sha256:")
    if at_sign:
        return [{"uri": address, "digest": {"sha256": digest}}]
    return [{"uri": source}] if source else []


def _base(base: str) -> list[dict[str, Any]]:
    name, _, digest = base.partition("@sha256:")
    return [{"uri": f"oci://{name.removeprefix('oci:')}", "digest": {"sha256": digest}}] if digest else []


def bill(image: StoredImage, contents: Contents, facts: Facts, hashes: Mapping[str, str]) -> dict[str, Any]:
    """What is in an image: the model with its licence and architecture, what it was packed from, and its files."""
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415 - half a second that nothing else needs
    from cyclonedx.model.bom import Bom  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415

    def sha256(value: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=value)]

    model = find_model(contents)
    name, version = _named(facts.source, image.digest)
    bom = Bom(serial_number=uuid.uuid5(_SERIAL, image.digest))
    bom.metadata.component = subject = Component(
        name=name,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        hashes=sha256(image.digest.removeprefix("sha256:")),
    )
    held = [path for path, _ in contents.files(model.folder)] if model else []
    parts = [
        Component(name=path, type=ComponentType.FILE, bom_ref=f"file:{path}", hashes=sha256(hashes[path]))
        if path in hashes
        else Component(name=path, type=ComponentType.FILE, bom_ref=f"file:{path}")
        for path in sorted(held)
    ]
    for part in parts:
        bom.components.add(part)
    if facts.base != SCRATCH:
        base, _, digest = facts.base.partition("@sha256:")
        below = Component(name=base, version=f"sha256:{digest}", type=ComponentType.CONTAINER, bom_ref="base")
        bom.components.add(below)
        parts.append(below)
    bom.register_dependency(subject, parts)
    written: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return _completed(written, facts, model.traits if model else Traits())


def _named(source: str, digest: str) -> tuple[str, str]:
    if hub_address.is_pinned(source):
        at = hub_address.parse(source)
        return at.repository, str(at.revision)
    return PurePosixPath(source.partition("@")[0]).name or "model", digest


def _completed(bom: dict[str, Any], facts: Facts, traits: Traits) -> dict[str, Any]:
    """The bill with what its library (11.12) has no words for, the model's card, and the same at any time."""
    from cyclonedx.spdx import fixup_id  # noqa: PLC0415 - as above

    bom["metadata"].update(timestamp=EPOCH)
    bom["metadata"].setdefault("properties", []).append({"name": "oci-model-serving:packer", "value": PACKER_VERSION})
    subject: dict[str, Any] = bom["metadata"]["component"]
    if facts.licence:
        known = fixup_id(facts.licence)
        subject["licenses"] = [{"license": {"id": known} if known else {"name": facts.licence}}]
    if hub_address.is_pinned(facts.source):
        at = hub_address.parse(facts.source)
        subject["purl"] = f"pkg:huggingface/{at.repository}@{at.revision}"
    parameters = {"task": traits.task, "modelArchitecture": traits.architecture}
    subject["modelCard"] = {"modelParameters": {name: value for name, value in parameters.items() if value}}
    return bom


def on_files(digest: str, folder: str, hashes: Mapping[str, str]) -> bytes:
    """model-signing's statement on files; `image`, which its verifiers pass over, binds it to the image."""
    names = sorted(hashes, key=PurePosixPath)  # model-signing's order
    root = hashlib.sha256(b"".join(bytes.fromhex(hashes[name]) for name in names)).hexdigest()
    predicate = {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
        "resources": [{"name": name, "algorithm": "sha256", "digest": hashes[name]} for name in names],
        "image": digest,
    }
    return statement(FILES, f"sha256:{root}", predicate, name=PurePosixPath(folder).name or "models")
