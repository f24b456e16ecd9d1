"""TLS 1.2 or newer with certificates (PS3.15 B.12, BCP 195)."""

from __future__ import annotations

import ssl

from cxr_infer.errors import UsageError
from cxr_infer.node.config import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Require and verify a certificate of the client. Raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, tls)


def client_context(tls: Tls | None) -> ssl.SSLContext:
    """Verify the server; send a certificate if there is one. Raises UsageError."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is None:
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.verify_host
    return _loaded(context, tls)


def _loaded(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    """Load the files of `tls` into the context. Raises UsageError if they cannot be used."""
    try:
        context.load_verify_locations(tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (tls.ca, tls.cert, tls.key)))
        raise UsageError(f"{files}: cannot be used for TLS: {error.strerror or error}; check these files") from error
    return context
