"""Signatures of an identity, without a key to keep: Sigstore's, by its own library.

A certificate of a few minutes names who signed (a workflow, by GitHub's OIDC), a transparency log tells when. What is
trusted comes from Sigstore's TUF repository, or from a file: `cosign trusted-root create` makes one.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelimage.errors import ImageError, first_line
from modelimage.signing.bundles import BundleError, SignedStatement
from oci_model_serving.errors import InputError


@dataclass(frozen=True)
class Identity:
    """Who may sign: the name in the certificate (an address of a workflow, or an email), and who vouches for it."""

    identity: str
    issuer: str

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.identity} ({self.issuer})"


class _Noting:
    """Any one of several policies, and the name of the one that holds."""

    def __init__(self, policies: Sequence[tuple[str, Any]]) -> None:
        self._policies = policies
        self.name = ""

    def verify(self, certificate: Any) -> None:
        """Raise what the last policy says, unless one holds."""
        from sigstore.errors import VerificationError  # noqa: PLC0415 - two seconds of libraries, which keys need not

        for name, policy in self._policies:
            with suppress(VerificationError):
                policy.verify(certificate)
                self.name = name
                return
        self._policies[-1][1].verify(certificate)


class Trust:
    """What certificates and logs are believed, fetched when it is first needed; `root` is a file, "" for Sigstore's."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._verifier: object = None

    def payload(self, bundle: SignedStatement, identities: Sequence[Identity]) -> tuple[str, bytes]:
        """Which identity signed a bundle, and the statement that its signature is over, once that is verified.

        Raises:
            BundleError: none of them did, or it is not to be believed.
            ImageError: what is to be believed cannot be had.
        """
        from sigstore.errors import Error, VerificationError  # noqa: PLC0415 - as above
        from sigstore.models import Bundle, InvalidBundle  # noqa: PLC0415
        from sigstore.verify import Verifier, policy  # noqa: PLC0415

        verifier = self._verifier = self._verifier or self._made()
        if not isinstance(verifier, Verifier):
            raise TypeError(verifier)
        signer = _Noting([(one.name, policy.Identity(identity=one.identity, issuer=one.issuer)) for one in identities])
        try:
            _, payload = verifier.verify_dsse(Bundle.from_json(bundle.content), signer)
        except (VerificationError, InvalidBundle) as error:
            raise BundleError(first_line(error)) from error
        except (Error, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise BundleError(f"it cannot be read: {first_line(error)}") from error
        return signer.name, payload

    def _made(self) -> object:
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import TrustedRoot  # noqa: PLC0415
        from sigstore.verify import Verifier  # noqa: PLC0415

        if self._root and not Path(self._root).is_file():
            raise InputError(f"there is no trusted root {self._root!r}: give the path of a file")
        try:
            if self._root:
                return Verifier(trusted_root=TrustedRoot.from_file(self._root))
            return Verifier.production()
        except (Error, OSError, ValueError, KeyError) as error:
            what = f"the trusted root {self._root!r}" if self._root else "Sigstore's trusted root"
            raise ImageError(f"{what} cannot be had: {first_line(error)}") from error


def sign(payload: bytes) -> bytes:
    """A bundle over a statement, signed as who runs this: in GitHub Actions the workflow.

    Raises:
        ImageError: nothing here says who we are, or Sigstore refuses.
    """
    import id as oidc  # noqa: PLC0415 - as above
    from sigstore.dsse import Statement  # noqa: PLC0415
    from sigstore.errors import Error  # noqa: PLC0415
    from sigstore.models import ClientTrustConfig  # noqa: PLC0415
    from sigstore.oidc import IdentityToken  # noqa: PLC0415
    from sigstore.sign import SigningContext  # noqa: PLC0415

    try:
        token = oidc.detect_credential("sigstore")
    except oidc.IdentityError as error:
        raise ImageError(
            f"who signs cannot be told: {first_line(error)}: give the job `permissions: id-token: write`"
        ) from error
    if not token:
        raise ImageError(
            "nothing here says who signs: run it in GitHub Actions with `permissions: id-token: write`, or give --key"
        )
    try:
        context = SigningContext.from_trust_config(ClientTrustConfig.production())
        with context.signer(IdentityToken(token)) as signing:
            bundle = signing.sign_dsse(Statement(payload))
    except (Error, OSError, ValueError) as error:
        raise ImageError(f"signing with Sigstore failed: {first_line(error)}") from error
    return bundle.to_json().encode()
