"""Whose signature counts, and who signs: a key of a file, of Google KMS, or an identity, by what a person writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from modelimage.signing import keyless, kms
from modelimage.signing.bundles import BundleError, SignedStatement, of_key, signed_bytes
from modelimage.signing.keyless import Identity, Trust
from modelimage.signing.keys import PublicKey, Signer, public_of_file, read_public, signer_of_file
from oci_model_serving.errors import InputError


@dataclass(frozen=True)
class Trusted:
    """Those of whom any one suffices."""

    keys: tuple[PublicKey, ...]
    identities: tuple[Identity, ...] = ()
    trust: Trust = field(default_factory=Trust)

    @property
    def names(self) -> str:
        """All of them, for a message."""
        return " or ".join([*(key.name for key in self.keys), *(identity.name for identity in self.identities)])

    def signer_of(self, bundle: SignedStatement) -> tuple[str, bytes]:
        """Who of them signed a bundle, and the statement that the signature is over.

        Raises:
            BundleError: nobody of them did.
        """
        if not bundle.keyless:
            for key in self.keys:
                if key.verifies(bundle.signature, bundle.signed):
                    return key.name, bundle.payload
            raise BundleError("it is by another key")
        if not self.identities:
            raise BundleError("it is by an identity, and a key is wanted")
        return self.trust.payload(bundle, self.identities)


def trusted(keys: Sequence[str] = (), identities: Sequence[tuple[str, str]] = (), *, root: str = "") -> Trusted:
    """Those who are named: keys as PEM text, `gcpkms://…` or the path of a file, identities with their issuers.

    Raises:
        InputError: nobody is named, or a key is none.
        ImageError: Google KMS, or Sigstore's trusted root, cannot be had.
    """
    if not keys and not identities:
        raise InputError("nobody is named whose signature counts: give --key, or --identity with --issuer")
    return Trusted(tuple(map(_public, keys)), tuple(Identity(*one) for one in identities), Trust(root))


def _public(said: str) -> PublicKey:
    if said.startswith(kms.SCHEME):
        return kms.public_key(said)
    if "-----BEGIN" in said:
        return read_public(said, "the key in PEM text")
    return public_of_file(said)


@dataclass(frozen=True)
class Hand:
    """Who signs; `key` is None for an identity, which `keyless` is."""

    key: Signer | None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.key.public.name if self.key else "this job's identity"

    def bundle(self, payload: bytes, *, hint: str = "") -> bytes:
        """Sign a statement; `hint` is in place of the key's usual one."""
        if self.key is None:
            return keyless.sign(payload)
        return of_key(payload, self.key.sign(signed_bytes(payload)), hint or self.key.public.hint)


def hand(key: str | None) -> Hand:
    """Who signs: with a private key's file or `gcpkms://…`, or for None as who runs this.

    Raises:
        InputError: it is no key, or a private key itself, which would stay in histories and process lists.
        ImageError: Google KMS cannot be asked.
    """
    if key is None:
        return Hand(None)
    if "-----BEGIN" in key:
        raise InputError("--key is a key's text, which others can see there: write it to a file and give its path")
    return Hand(kms.signer(key) if key.startswith(kms.SCHEME) else signer_of_file(key))
