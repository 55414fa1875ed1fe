"""What a server was asked to be: made once from the command line, then handed on, frozen, to the template and each worker."""

from typing import Literal

from msgspec import Struct

from pellucid.serve.keys import Key
from pellucid.serve.sampling import Sampling


class Beside(Struct, frozen=True):
    """`share`: percent of the requests. `model` is the other version, in words."""

    kind: Literal["canary", "shadow"]
    model: str
    share: float
    socket: str


class Options(Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes. The descriptors are those that the template inherits from the supervisor."""

    model: str
    """`loan:3`: always with its version, so that a training in between changes nothing."""
    store: str
    function: str = ""
    """`module:function` instead of a stored model, imported from `folder`."""
    folder: str = ""
    incidents: str
    host: str
    port: int
    workers: int
    timeout_s: float
    max_rows: int = 10_000
    max_body: int = 8 * 1024 * 1024
    max_queue: int = 128
    max_batch: int = 1024
    """Rows in one prediction of several requests; 1 predicts each request alone."""
    engine: Literal["auto", "pipeline", "exact", "onnx"] = "auto"
    unseen: Literal["refuse", "count"] = "refuse"
    """What happens to a category that the training data had not."""
    errors: Literal["full", "field", "generic"] = "full"
    """How much a 422 says."""
    max_growth: int = 512
    """MiB by which a worker may grow before it is replaced; 0: any."""
    record: bool = True
    """A recorder beside the workers keeps what they do."""
    sampling: Sampling | None = None
    """Which requests are traced; None where nobody wants spans."""
    keys: tuple[Key, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    beside: Beside | None = None
    supervisor: int = 0
    listener: int = -1
    slots: int = -1
    log: int = -1
    spans: int = -1
