"""One process whose every name is an attack (target `hostile`), and every command that may print one of them: nothing but line breaks reaches a terminal."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pellucid.inert import inert, inert_json
from tests.conftest import TARGETS

LIMIT_S = 110
NAME = "\x1b[31m\n\r\x07\x9b2J\u202e\u2066\u200f<b>x"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
SHOWN = ("why", "stacks", "waits", "files", "sockets", "info", "env", "ps", "recover", "syscalls", "profile", "heap")
"""Commands of which a name of the target is expected in what they print."""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    process = subprocess.Popen(
        [sys.executable, str(TARGETS / "hostile.py"), str(folder), NAME, NAME],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOSTILE_AT_START": NAME},
    )
    assert process.stdout.readline() == b"ready\n"
    yield folder, str(process.pid)
    process.kill()
    process.wait()
    process.stdout.close()


def told(folder, words):
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", *words],
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "home")},
    )
    return words, ended.stdout.decode() + ended.stderr.decode()


def test_no_name_reaches_a_terminal_as_it_is(target):
    folder, pid = target
    looks = [
        *[(name, pid) for name in ("why", "stacks", "waits", "files", "sockets", "info", "recover", "memory", "oom")],
        *[(name, pid, "-d", "0.3") for name in ("syscalls", "profile")],
        *[("heap", pid, "--no-pause"), ("ps", "hostile.py"), ("ps", "--tree"), ("files", str(folder / NAME))],
        *[("waits", pid, "--dot"), ("env", pid, "--show-secrets"), ("files", "--deleted"), ("top", "--plain", "--count", "1", pid)],
        *[("why", NAME), ("files", NAME), ("oom", NAME), ("replay", NAME), ("predict", NAME), ("why", pid, "--host", NAME), (NAME,)],
        *[("why", pid, "--json"), ("files", pid, "--json"), ("profile", pid, "-d", "0.3", "--json"), ("replay", NAME, "--json")],
    ]  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda words: told(folder, words), looks))
    for words, text in seen:
        assert not (found := HARMFUL.search(text)), (words, text[max(0, found.start() - 80) : found.end()])
        assert "Traceback" not in text, (words, text)
    plain = {words: text for words, text in seen if words[1:2] == (pid,) and words[0] in SHOWN}
    missing = [words for words, text in plain.items() if r"\x1b[31m" not in text and r"\u001b[31m" not in text]
    assert not missing


def test_json_says_the_same_in_escapes():
    content = json.dumps({NAME: [NAME, "é\U000e0001"]}, ensure_ascii=False).encode()
    encoded = inert_json(content)
    assert json.loads(encoded) == json.loads(content)
    assert not HARMFUL.search(encoded.decode())
    assert "é" in encoded.decode()
    assert inert("\udc9b\u2028") == r"\udc9b\u2028"
