"""An image is signed, attested and verified, by its digest alone.

A signature is a statement of the predicate `SIGNATURE` on the image's digest; an attestation is one of another
predicate, which never counts as a signature: who vouches for a list of licences has not said that the image may run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from modelimage.attachments import subject_of
from modelimage.documents import EMPTY, EMPTY_TYPE, read_manifest
from modelimage.errors import CancelledError, ImageError
from modelimage.images import Session
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.signing import bundles
from modelimage.signing.bundles import BUNDLE_FAMILY, BUNDLE_LIMIT_BYTES, SIGNATURE, BundleError, Claim, SignedStatement
from modelimage.signing.signers import Hand, Trusted, hand, trusted
from modelimage.signing.statements import FILES, PREDICATES, Facts, statements_on
from modelimage.stores import Listed, Repository, Store, StoredManifest, small_blob
from modelimage.streams import Blob, digest_of
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import LayoutReference, parse_pinned, referrers_tag

_COUNT_LIMIT = 500
_SIZE_LIMIT_BYTES = 256 << 20
"""Of all bundles of one image together that are read to find the ones that count."""
_UNTOLD = ("", EMPTY_TYPE)
_REASONS = 3


class UnsignedError(ImageError):
    """An image has no signature, or lacks an attestation, of those whose word counts."""


@dataclass(frozen=True)
class Signed:
    """What was attached to an image, by predicate: the digests of the new bundles' manifests, and what was there."""

    digest: str
    reference: str
    signer: str
    attached: dict[str, str] = field(default_factory=dict)
    already: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self)


@dataclass(frozen=True)
class Verified:
    """An image that somebody vouches for whose word counts; `attestations` has who made each."""

    digest: str
    reference: str
    signer: str
    attestations: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self)


def sign(
    reference: str, *, key: str | None, reporter: Reporter | None = None, policy: RetryPolicy | None = None
) -> Signed:
    """Sign an image, unless this key has done it before; `key` is None for the identity of who runs this.

    Raises:
        InputError: the reference has no digest, or the key is none.
        ImageError: the image is absent, or the signature cannot be made or attached.
    """
    place, digest = parse_pinned(reference)
    by, session = hand(key), Session.start(reporter, policy)
    with session.writing(place) as store:
        payload = bundles.statement(SIGNATURE, digest, {})
        made = _attach(store, store.manifest(digest), by, {SIGNATURE: payload})
    return Signed(digest, str(place), by.name, *made)


def attest(
    reference: str,
    facts: "Facts",
    *,
    key: str | None,
    files: bool = False,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Signed:
    """Attest what an image was made of: provenance, a bill of materials, and with `files` each of its files.

    For `files` the whole image is read. What this key has attested in the same words stays as it is.

    Raises:
        InputError: the reference has no digest, or the key is none.
        ImageError: the image cannot be read, or an attestation cannot be made or attached.
    """
    place, digest = parse_pinned(reference)
    by, session = hand(key), Session.start(reporter, policy)
    with session.writing(place) as store:
        payloads = statements_on(store, digest, str(place), facts, session, files=files)
        made = _attach(store, store.manifest(digest), by, payloads)
    return Signed(digest, str(place), by.name, *made)


def verify(
    reference: str,
    *,
    keys: Sequence[str] = (),
    identities: Sequence[tuple[str, str]] = (),
    attestations: Sequence[str] = (),
    root: str = "",
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Verified:
    """See that an image is signed by one of those who are named, and has the attestations of any of them.

    `attestations` are names of `statements.PREDICATES`, or the addresses of predicates.

    Raises:
        InputError: the reference has no digest, or nobody is named.
        UnsignedError: it is not signed by any of them, or lacks an attestation.
        ImageError: the image, or what is attached to it, cannot be read.
    """
    place, digest = parse_pinned(reference)
    wanted = {PREDICATES.get(name, name): name for name in attestations}
    if bad := [kind for kind in wanted if ":" not in kind]:
        raise InputError(f"--attestation {bad[0]}: write {', '.join(PREDICATES)} or a predicate's address")
    who, session = trusted(keys, identities, root=root), Session.start(reporter, policy)
    found: dict[str, str] = {}
    reasons: list[str] = []
    with session.reading(place) as store:
        store.manifest(digest)
        for claim, name in _claims(store, digest, who, reasons):
            found.setdefault(claim.predicate_type, name)
            if {SIGNATURE, *wanted} <= set(found):
                break
        old = SIGNATURE not in found and _signed_before(store, digest, place)
    if missing := [SIGNATURE, *wanted] if SIGNATURE not in found else [kind for kind in wanted if kind not in found]:
        signature = missing[0] == SIGNATURE
        what = "is not signed by" if signature else f"has no attestation {wanted[missing[0]]} of"
        raise UnsignedError(
            f"{place} {what} {who.names}: {_why(reasons)}{old or ''}: "
            + (
                f"`oms image sign {place}` signs it, or name who did (a stack: registry.verify)"
                if signature
                else f"`oms image attest {place}` makes it"
            )
        )
    return Verified(
        digest, str(place), found[SIGNATURE], {name: found[kind] for kind, name in wanted.items() if kind in found}
    )


def _why(reasons: Sequence[str]) -> str:
    if not reasons:
        return "no signature is attached to it"
    more = f", and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"{len(reasons)} attached: " + "; ".join(reasons[:_REASONS]) + more


def _signed_before(store: Repository, digest: str, place: object) -> str:
    """What is to be said of a signature in the form of cosign before v3, which is not read."""
    if isinstance(place, LayoutReference):
        return ""
    with suppress(OmsError):
        if store.tagged(f"{referrers_tag(digest)}.sig"):
            return " (cosign before v3 has signed it, under a tag: sign it again with v3)"
    return ""


def _claims(store: Repository, digest: str, who: Trusted, reasons: list[str]) -> Iterator[tuple[Claim, str]]:
    """What those whose word counts say of an image, each with who says it; `reasons` gets why others do not count."""
    for at, bundle in _attached(store, digest, reasons):
        try:
            name, payload = who.signer_of(bundle)
            claim = bundles.claim_of(payload)
        except BundleError as error:
            reasons.append(f"{at[:19]}…: {error}")
            continue
        # model-signing's statement is on the files: it names the image beside them.
        files = claim.predicate_type == FILES
        if (files and claim.predicate.get("image") == digest) or (not files and digest in claim.digests):
            yield claim, name
        else:
            reasons.append(f"{at[:19]}…: it is on another image")


def _attached(store: Repository, digest: str, reasons: list[str]) -> Iterator[tuple[str, SignedStatement]]:
    """The bundles that are attached to an image, by their manifests' digests."""
    left = _SIZE_LIMIT_BYTES
    candidates = [entry for entry in store.referrers(digest) if _may_be_bundle(entry)]
    for entry in candidates[:_COUNT_LIMIT]:
        try:
            manifest = store.manifest(entry.digest)
            if subject_of(manifest) != digest:
                raise BundleError("it is attached to another image")
            layers = read_manifest(manifest.content, entry.digest).layers
            if len(layers) != 1 or not layers[0].media_type.startswith(BUNDLE_FAMILY):
                if entry.artifact_type in _UNTOLD:
                    continue  # something else, of which no list told the type
                raise BundleError("it holds no bundle")
            size = layers[0].size
            if size > min(BUNDLE_LIMIT_BYTES, left):
                raise BundleError(f"with {readable(size)} it is larger than is read")
            left -= size
            yield entry.digest, bundles.read(small_blob(store, layers[0], BUNDLE_LIMIT_BYTES, "its bundle"))
        except CancelledError:
            raise
        except ImageError as error:
            reasons.append(f"{entry.digest[:19]}…: {error}")
    if len(candidates) > _COUNT_LIMIT:
        reasons.append(f"{len(candidates) - _COUNT_LIMIT} more were not read: remove what is not needed")


def _may_be_bundle(entry: Listed) -> bool:
    return entry.artifact_type in _UNTOLD or entry.artifact_type.startswith(BUNDLE_FAMILY)


def _attach(
    store: Store, image: StoredManifest, by: Hand, payloads: Mapping[str, bytes]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Attach a bundle for each statement that is not there by the same hand: (attached, already there)."""
    # An identity's certificates pass: what it has made before is nobody's to know again.
    own = by.key.public if by.key else None
    there = {
        bundle.payload
        for _, bundle in (_attached(store, image.digest, []) if own else ())
        if own and not bundle.keyless and own.verifies(bundle.signature, bundle.signed)
    }
    made: dict[str, StoredManifest] = {}
    for kind, payload in payloads.items():
        if payload in there:
            continue
        content = by.bundle(payload, hint=_hint(by) if kind == FILES else "")
        if len(content) > BUNDLE_LIMIT_BYTES:
            raise ImageError(f"the statement {kind} has {readable(len(content))}, and nobody reads so long a one")
        store.write_blob(Blob.of("the bundle", content))
        made[kind] = bundles.attachment(content, kind, image)
    if made:
        store.write_blob(Blob.of("the empty configuration", EMPTY))
        store.attach(list(made.values()), image.digest)
    return {kind: manifest.digest for kind, manifest in made.items()}, tuple(
        kind for kind in payloads if kind not in made
    )


def _hint(by: Hand) -> str:
    """What model-signing calls a key (1.1.1, _signing/sign_ec_key.py): it takes no other word for it."""
    return digest_of(by.key.public.pem).removeprefix("sha256:") if by.key else ""
