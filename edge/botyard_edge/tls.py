"""Which certificates a robot trusts and shows."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from botyard_edge.transport import TransportError


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM format: `ca` holds the authorities to trust, None those of the system; `certificate` and `key` are
    what the robot shows of itself, the key in the same file if it is None."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context that checks the other side's certificate and name. Raises TransportError naming what is wrong."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"the authorities in {self.ca} cannot be read: {_said(error)}") from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise TransportError(f"the certificate {self.certificate} cannot be used: {_said(error)}") from error
        return context


# What the system trusts, and no certificate of one's own.
SYSTEM = Tls()


def _said(error: OSError) -> str:
    return error.strerror or str(error)
