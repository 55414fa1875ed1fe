"""Which requests are traced: OTEL_TRACES_SAMPLER and its argument, by the rules of OpenTelemetry's SDK specification."""

from typing import Literal

from msgspec import Struct

Root = Literal["always_on", "always_off", "traceidratio"]
_LOW = (1 << 64) - 1


class Sampling(Struct, frozen=True):
    """`by_parent`: a request that comes with a trace is traced where its caller is, and `root` decides of the others."""

    root: Root = "always_on"
    by_parent: bool = True
    ratio: float = 1.0

    def wanted(self, trace: int, parent: bool | None) -> bool:
        """Whether this trace is sampled; `parent` says whether its caller does, None where there is none.

        A trace is taken or left by the lower 64 bits of its id, so that all services with one ratio choose the same.
        """
        if self.by_parent and parent is not None:
            return parent
        if self.root == "traceidratio":
            return trace & _LOW < round(self.ratio * (_LOW + 1))
        return self.root == "always_on"
