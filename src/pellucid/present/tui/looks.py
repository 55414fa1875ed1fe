"""Looks that a person asks for: the command itself, as a process of its own, and its text as it comes."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from pellucid.inert import lines

_MOST = 200_000
"""Characters that are kept of what a command prints."""
ENDING_S = 5.0


class Look(VerticalScroll):
    """`words` is the command line without `pellucid`; `cost` what it takes, said before it begins. It begins with `begin`."""

    def __init__(self, words: Callable[[], tuple[str, ...]], cost: str, *, key: str) -> None:
        super().__init__(id=key)
        self._words = words
        self._cost = cost
        self._process: asyncio.subprocess.Process | None = None
        self.text = ""

    def compose(self) -> ComposeResult:
        yield Static(Text(self._invitation()), id=f"{self.id}-text")

    def _invitation(self) -> str:
        return f"{self.shell}\n{self._cost}\n\nenter begins"

    @property
    def shell(self) -> str:
        """The command that shows the same."""
        return " ".join(("pellucid", *self._words()))

    @property
    def begun(self) -> bool:
        """Whether it runs, or has run."""
        return bool(self.text) or self._process is not None

    def begin(self) -> None:
        """Run it, or run it again when it is over."""
        if self._process is None:
            self.run_worker(self._run(), exclusive=True)

    async def _run(self) -> None:
        self._show(f"{self.shell}\n\n")
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": str(max(40, self.size.width - 2))}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pellucid", *self._words()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        assert self._process.stdout is not None
        try:
            while content := await self._process.stdout.read(1 << 16):
                said = content.decode("utf-8", "replace")
                self._show((self.text + lines(said.replace("\r", "\n")))[-_MOST:])
            status = await self._process.wait()
            if status:
                self._show(f"{self.text}\n(it ended with {status})")
        finally:
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(ENDING_S):
                await process.communicate()
        except TimeoutError:
            process.kill()

    def _show(self, text: str) -> None:
        self.text = text
        self.query_one(f"#{self.id}-text", Static).update(Text(text))
