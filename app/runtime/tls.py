"""TLS to servers of others: which certificate authorities are trusted, and what a fault of theirs means."""

from __future__ import annotations

import ssl

import certifi

from app.domain.errors import ConfigurationError


def client_context(ca_file: str | None = None, setting: str = "") -> ssl.SSLContext:
    """A context that trusts the public authorities, those of this machine, and those of a PEM file.

    `SSL_CERT_FILE`, which OpenSSL reads, adds to the public authorities here instead of replacing them.

    Raises:
        ConfigurationError: The file that `setting` names can't be read.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            why = "the file contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigurationError(
                f"{setting}: {ca_file!r} can't be read ({why}); set it to a PEM file with the certificate of "
                "your certificate authority."
            ) from None
    return context


def tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS error that caused `error`, if one did."""
    for _ in range(10):  # of what causes what
        if error is None or isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def tls_words(error: ssl.SSLError) -> tuple[str, str]:
    """A code and words for a TLS error: what an operator can do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", f"the server's certificate is not valid: {error.verify_message}"
    return "tls", f"no TLS with the server: {error}"
