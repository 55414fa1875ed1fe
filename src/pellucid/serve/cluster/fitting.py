"""The fits of a grid search as tasks of a Ray cluster, each told as soon as it is done.

The data are put into Ray's object store once. The pipeline's own classes travel by value (`ray.cloudpickle`), for no node can import them. A
few tasks more than CPUs are under way at a time, so that none waits for the driver and an interruption loses little.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pellucid.serve.cluster.joining import join

if TYPE_CHECKING:
    from pellucid.serve.search import Asked, Fit

AHEAD = 2
"""Tasks under way, times the CPUs."""


def fits(
    asked: "Asked",
    grid: list[dict[str, Any]],
    parts: list[Any],
    todo: Sequence[tuple[int, int]],
    inputs: Any,
    labels: Any,
) -> Iterator["Fit"]:
    """Each (candidate, fold) of `todo`, in the order in which they end. A task that Ray could not bring to its end is a fit that failed."""
    join("train on a Ray cluster")
    import ray

    from pellucid.serve.search import Fit, fit_one

    try:
        if (own := sys.modules.get(asked.package)) is not None:  # a pipeline of scikit-learn's alone has none
            ray.cloudpickle.register_pickle_by_value(own)
        task = ray.remote(fit_one)
        shared = [ray.put(one) for one in (asked.pipeline, inputs, labels)]
        pipeline, rows, targets = shared
        width = asked.jobs or AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        left = iter(todo)
        under_way: dict[Any, tuple[int, int]] = {}
        while True:
            while len(under_way) < width and (one := next(left, None)) is not None:
                number, fold = one
                under_way[task.remote(pipeline, grid[number], number, fold, parts[fold], rows, targets)] = one
            if not under_way:
                return
            done, _ = ray.wait(list(under_way))
            for reference in done:
                number, fold = under_way.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    said = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
                    yield Fit(number, fold, math.nan, 0.0, said)
    finally:
        ray.shutdown()
