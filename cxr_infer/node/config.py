"""The configuration of a node: everything in its TOML file, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxr_infer.errors import UsageError
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, NONE
from cxr_infer.version import __version__

OTHER = "other"  # pass images that are not denoised
AUTO, NO = "auto", "no"  # storage commitment: if the destination offers it, or never
ORIGINAL, DERIVED = "original", "derived"
LOOPBACK = "127.0.0.1"

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Tls:
    """TLS files of one side. ca: signs the other side's certificates. verify_host: whether a client checks the host
    name.
    """

    ca: str
    cert: str = ""
    key: str = ""
    verify_host: bool = True


@dataclass(frozen=True)
class Stow:
    """STOW-RS input (PS3.18 10.5). The limits and addresses of Receive apply; AE titles do not."""

    address: str = LOOPBACK
    port: int = 11181
    path: str = "/dicom-web"  # prefix of /studies
    token_env: str = ""  # variable with the bearer token that senders must send
    tls: Tls | None = None  # None: loopback only


@dataclass(frozen=True)
class WatchedFolder:
    """A watched folder. move_to: where files go once they are in the spool; empty: they stay and are remembered."""

    path: str
    move_to: str = ""


@dataclass(frozen=True)
class Receive:
    """Who may send, and how much at once. Empty lists allow anyone."""

    ae_title: str = "CXRINFER"
    address: str = LOOPBACK
    port: int = 11112
    calling: Texts = ()  # AE titles
    called: Texts = ()
    addresses: Texts = ()  # of senders, or networks such as 10.1.0.0/16
    associations: int = 10
    max_pdu: int = 131072  # bytes
    instance_mb: int = 512
    memory_mb: int = 1024  # for all instances while they arrive
    timeout: int = 60  # s of silence on a connection
    tls: Tls | None = None
    stow: Stow | None = None
    folder: WatchedFolder | None = None

    @property
    def open_to_anybody(self) -> bool:
        """Whether anyone who reaches the port may send."""
        return self.address != LOOPBACK and not (self.addresses or self.calling or self.tls)


@dataclass(frozen=True)
class Destination:
    """Where instances go: a DICOM node, or a DICOMweb store given by its URL."""

    name: str
    host: str = ""
    port: int = 104
    ae_title: str = "ANY-SCP"
    commitment: str = AUTO
    url: str = ""  # of STOW-RS, such as https://pacs/dicom-web/studies
    token_env: str = ""  # variable with a bearer token
    timeout: int = 60  # s
    tls: Tls | None = None


@dataclass(frozen=True)
class Limits:
    """Limits for retrying, storing and keeping."""

    attempts: int = 5  # for an instance refused by a destination
    give_up_days: float = 7.0  # until an instance that cannot be sent is quarantined
    reserve_mb: int = 200  # kept free on the disk
    spool_gb: float = 0.0  # for unsent instances; 0: no limit
    remember_days: float = 7.0  # how long a sent instance is remembered
    keep_hours: float = 0.0  # how long its files are kept
    retry_seconds: float = 2.0  # before retrying a destination that is down, doubled each time
    longest_wait: float = 300.0  # s


@dataclass(frozen=True)
class Rule:
    """Conditions (empty: any) and what happens to matching instances. The first matching rule applies."""

    name: str = "default"
    modality: Texts = ()
    body_part: Texts = ()
    view: Texts = ()
    manufacturer: Texts = ()
    called: Texts = ()
    calling: Texts = ()
    noise_above: float = 0.0  # standard deviation in gray levels of an 8-bit image
    denoise: bool = True
    strength: float = 1.0
    send: Texts = (ORIGINAL, DERIVED)
    to: Texts = ()  # names of destinations; empty: all


@dataclass(frozen=True)
class Node:
    """The node as a whole. http_port: health and metrics on loopback; 0 any free port, -1 none."""

    spool: str = "cxr-infer-spool"
    pass_: str = OTHER
    model: str = "window"
    precision: str = "auto"
    threads: int = 0  # 0: as many as affinity and container quota allow
    memory: int = DEFAULT_MEMORY  # MB
    max_pixels: int = MAX_PIXELS
    compress: str = NONE
    http_port: int = 11180


@dataclass(frozen=True)
class Config:
    """The content of a TOML file."""

    node: Node = Node()
    receive: Receive = Receive()
    limits: Limits = Limits()
    destinations: tuple[Destination, ...] = ()
    rules: tuple[Rule, ...] = field(default=())

    @property
    def spool(self) -> Path:
        return Path(self.node.spool)

    def destination(self, name: str) -> Destination:
        return next(each for each in self.destinations if each.name == name)


def destination_of(text: str) -> Destination:
    """Parse `AE@HOST:PORT`, or the URL of a DICOMweb store. Raises UsageError."""
    if "://" in text:
        return Destination(name=text, url=text)
    title, at, place = text.partition("@")
    host, colon, port = place.rpartition(":")
    if not (at and colon and host and port.isdecimal()):
        raise UsageError(f"--to {text}: give AE@HOST:PORT, such as PACS@10.0.0.5:104, or a URL")
    return Destination(name=title, ae_title=title, host=host.strip("[]"), port=int(port))


SOFTWARE = f"cxr-infer {__version__}"
