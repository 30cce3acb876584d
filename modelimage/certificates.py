"""Whom TLS trusts, and with which certificate we show ourselves: the folders of docker and podman for each registry.

Trusted are the authorities that SSL_CERT_FILE and SSL_CERT_DIR name; without them, those of the system and of certifi.
A folder `certs.d/HOST[:PORT]`, called as the host is in image references, adds to them for this host alone: `*.crt`
are authorities, `NAME.cert` with `NAME.key` is a client's certificate. It is looked for below `containers` and `docker`
in `$XDG_CONFIG_HOME` or `~/.config`, then below `/etc/containers` and `/etc/docker`; the first that is there counts
(containers-certs.d(5); Docker's "Verify repository client with certificates"; rootless Docker).
"""

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from modelimage.errors import ImageError, first_line
from modelimage.reach import WANTS_CERTIFICATE

_PROBE_SECONDS = 5.0


def certificates_folder(host: str) -> Path | None:
    """The folder of a registry's certificates, by its host with the port as references write it; None for none."""
    for parent in _parents():
        folder = parent / "certs.d" / host
        if folder.is_dir():
            return folder
    return None


def _parents() -> Iterator[Path]:
    try:
        settings: Path | None = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        settings = None  # a user without a home folder, as in some containers
    for tool in ("containers", "docker"):
        if settings:
            yield settings / tool
    for tool in ("containers", "docker"):
        yield Path("/etc", tool)


def tls_context(folder: Path | None) -> ssl.SSLContext:
    """What connections are verified with, and the client's certificates of `folder`.

    Raises:
        ImageError: a file that is named, or lies there, is no certificate or key; the message names it.
    """
    context = _trusting()
    for path in sorted(folder.iterdir()) if folder else ():
        if path.suffix == ".crt":
            _load(context, path, None)
        elif path.suffix == ".cert":
            _load(context, path, _partner(path, ".key"))
        elif path.suffix == ".key":
            _partner(path, ".cert")
    return context


def _partner(path: Path, suffix: str) -> Path:
    partner = path.with_suffix(suffix)
    if not partner.is_file():
        raise ImageError(f"{path}: there is no {partner.name} beside it: a client's certificate wants both")
    return partner


def _load(context: ssl.SSLContext, path: Path, key: Path | None) -> None:
    try:
        if key is None:
            context.load_verify_locations(path)
        else:
            # An empty password: OpenSSL would ask for one on the terminal.
            context.load_cert_chain(path, key, password="")
    except (OSError, ValueError) as error:
        what = "certificates in PEM form" if key is None else f"a certificate in PEM form with its key {key.name}, bare"
        raise ImageError(f"{path}: cannot be used as {what}: {first_line(error)}: repair or remove it") from error


def _trusting() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    absent = {"SSL_CERT_FILE": file and not Path(file).is_file(), "SSL_CERT_DIR": folder and not _are_folders(folder)}
    for name, value in (("SSL_CERT_FILE", file), ("SSL_CERT_DIR", folder)):
        if absent[name]:
            raise ImageError(f"{name} names {value}, which is not there: correct the variable, or unset it")
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"SSL_CERT_FILE={file}: cannot be used as certificates in PEM form: {first_line(error)}: correct it"
        ) from error


def _are_folders(value: str) -> bool:
    return any(Path(part).is_dir() for part in value.split(os.pathsep))


def certificate_remedy(reason: BaseException, host: str) -> str:
    """What to do where TLS with a registry failed for want of a certificate; "" where it failed for another reason."""
    folder = f"~/.config/containers/certs.d/{host}"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f", or put that into {folder}/ca.crt"
    if isinstance(reason, ssl.SSLError) and (reason.reason or "").upper().replace(" ", "_").endswith(WANTS_CERTIFICATE):
        return f"; where it wants a certificate of ours, put client.cert and client.key into {folder}"
    return ""


def speaks_tls(host: str, port: int) -> bool:
    """Whether something at this port answers a TLS greeting; nothing of ours is sent and nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "").upper()  # it speaks, and wants something else of us
    except OSError:
        return False
    return True
