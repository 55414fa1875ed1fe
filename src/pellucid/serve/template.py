"""The template: loads the model once, proves it on its sample, and forks each worker from itself. `python -m pellucid.serve.template FD`.

How a worker is forked is `forking.py`. Only a process with one thread is: another thread's locks would be copied locked, with nobody to
release them.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pellucid.model.errors import PellucidError, UsageError
from pellucid.serve import control, processes
from pellucid.serve.events import Fork, Trouble
from pellucid.serve.forking import Become, Forking, NotForked
from pellucid.serve.options import Options

if TYPE_CHECKING:
    from pellucid.serve.package import Model

NEEDLESS = ("rich", "charset_normalizer")
"""What scikit-learn draws the progress bars of a fit with, and NumPy's f2py reads Fortran with."""
QUIET_S = 0.3
"""After an order so long nothing else is done, for the new worker needs the processor."""


def main(arguments: list[str]) -> int:
    end = socket.socket(fileno=int(arguments[0]))
    end.set_inheritable(False)
    begin = control.order(end)
    if not isinstance(begin, control.Begin):
        return 1
    options = begin.options
    processes.die_with(options.supervisor)
    processes.name_thread("pellucid-model")
    try:
        become = _prepare(options)
    except PellucidError as error:
        return _refuse(end, Trouble(error.tried, error.said, error.remedy))
    except Exception as error:  # noqa: BLE001  whatever the model's code raises is told by the supervisor
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
        return _refuse(end, Trouble(f"load the model {options.model}", said, "see the traceback above"))
    if threads := _other_threads():
        said = (
            f"loading it has started threads ({', '.join(threads)}), and a process with threads can't be forked safely"
        )
        return _refuse(
            end,
            Trouble(f"fork workers of the model {options.model}", said, "start them when predicting, not when loading"),
        )
    gc.collect()
    gc.freeze()  # a later collection would write to every object's header, and so copy the pages that the workers share
    processes.let_go_of_files()  # what loading has read of them, the workers do not map
    control.send(end, control.Loaded(note=become.note, how=become.how))
    return _obey(end, options, become.run)


class _Become(NamedTuple):
    run: Become
    note: str
    how: str


def _prepare(options: Options) -> _Become:
    """Import all that a worker needs, load the model, predict its sample."""
    from pellucid.serve import callables, package
    from pellucid.serve.store import Store

    _check_tls(options)
    if options.function:
        function = callables.load(options.function, options.folder, options.max_rows)
        return _ready(options, function, [], [], [], "", callables.how(function))
    store = Store(options.store)
    manifest = store.resolve(options.model)
    if manifest.format == "skops":
        _import_skops()
    model = package.load(store, manifest, options.max_rows, options.engine)
    records, expected = package.sample(store, model)
    drift = package.drift(model.manifest)
    note = f"{drift}; its stored sample is predicted as at its training" if drift else ""
    return _ready(options, model, records, expected, package.example(store, model.manifest), note, package.how(model))


def _import_skops() -> None:
    """Without the rest of scikit-learn, and without what others import only if it is there: 10 MB that all processes would have.

    skops names the estimators that it trusts by importing every module that has one (skops/io/_trusted_types.py, 0.16). Types of scikit-learn are
    trusted by their module here (`trust.py`), and the model brings along those that it has.
    """
    with _without(NEEDLESS):
        import sklearn.utils

        listed = getattr(sklearn.utils, "all_estimators", None)
        if listed is not None:
            sklearn.utils.all_estimators = lambda *_, **__: []
        try:
            import skops.io  # noqa: F401
        finally:
            if listed is not None:
                sklearn.utils.all_estimators = listed


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """As where these are not installed. A module that is None in sys.modules can't be imported
    (docs.python.org/3/reference/import.html#the-module-cache); afterwards it can, by who needs it.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _ready(
    options: Options, model: "Model", records: list[Any], expected: list[Any], example: list[Any], note: str, how: str
) -> _Become:
    from pellucid.serve import worker
    from pellucid.serve.board import Board

    listener = socket.socket(fileno=options.listener)
    for fd in (options.listener, options.slots, options.log, options.spans):
        if fd >= 0:
            os.set_inheritable(fd, False)
    if options.sampling is not None:
        import pellucid.serve.telemetry.traces  # noqa: F401  before the fork: what workers share
    stock = worker.Stock(
        options=options,
        model=model,
        sample=records,
        expected=expected,
        example=example,
        board=Board(options.slots),
        listener=listener,
    )
    return _Become(lambda slot, generation: worker.run(stock, slot, generation), note, how)


def _check_tls(options: Options) -> None:
    """UsageError where the certificate and its key can't be used: better once here than in each worker."""
    if not options.tls_cert:
        return
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            tried=f"serve HTTPS by {options.tls_cert} and {options.tls_key}",
            said=str(error),
            remedy="give a PEM certificate and its private key without a passphrase",
        ) from error


def _refuse(end: socket.socket, trouble: Trouble) -> int:
    control.send(end, control.Refused(trouble))
    return 2


def _other_threads() -> list[str]:
    """Names of this process's threads beside the main one; those of Python by their Python names."""
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    names = []
    for tid in map(int, os.listdir("/proc/self/task")):
        if tid != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/self/task/{tid}/comm", encoding="utf-8") as file:
                names.append(python.get(tid) or file.read().strip())
    return names


def _obey(end: socket.socket, options: Options, become: Become) -> int:
    """Fork as ordered until the supervisor is gone. While nothing is ordered, a spare process is made for the next order."""
    forking = Forking(options.supervisor, become, end.close)
    while True:
        if not select.select([end], [], [], QUIET_S)[0]:
            forking.prepare()
        order = control.order(end)
        if order is None:
            return 0
        if isinstance(order, Fork):
            control.send(end, _forked(forking, order))


def _forked(forking: Forking, order: Fork) -> control.Born | control.Unborn:
    try:
        return control.Born(order.slot, order.generation, forking.worker(order.slot, order.generation))
    except NotForked as error:
        return control.Unborn(order.slot, order.generation, str(error))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main(sys.argv[1:]))
