"""What is printed beside a refusal can be copied into the shell as it stands."""

import shlex
import sys

import pytest

from pellucid.model import Gap
from pellucid.present.cli.screen import as_run, gaps


@pytest.mark.parametrize(
    ("words", "remedy", "told"),
    [
        ("/srv/v/bin/pellucid waits 42", "sudo pellucid why 42", "sudo /srv/v/bin/pellucid waits 42"),
        ("/usr/bin/pellucid files --port 80", "sudo pellucid files 1", "sudo pellucid files --port 80"),
        ("/usr/bin/pellucid why 'a b'", "sudo pellucid why 42", "sudo pellucid why 'a b'"),
        (
            "/usr/bin/pellucid output 42",
            "sudo pellucid output 42, or `--backend ptrace`, which stops it",
            "sudo pellucid output 42, or `--backend ptrace`, which stops it",
        ),
        (
            "/srv/v/bin/pellucid syscalls 42 --backend perf",
            "sudo pellucid syscalls 42 --backend bpf",
            "sudo /srv/v/bin/pellucid syscalls 42 --backend bpf",
        ),
        ("/usr/bin/pellucid jvm flags 42", "sudo pellucid jvm cmd 42", "sudo pellucid jvm flags 42"),
        ("/srv/v/bin/pellucid check", "sudo pellucid ...", "sudo /srv/v/bin/pellucid ..."),
        (
            "/srv/v/bin/pellucid syscalls -- make all",
            "sudo pellucid syscalls -- make ...",
            "sudo /srv/v/bin/pellucid syscalls -- make ...",
        ),
        (
            "/usr/bin/pellucid waits 42",
            "from a login shell (no_new_privs): sudo pellucid why 42",
            "from a login shell (no_new_privs): sudo pellucid waits 42",
        ),
        ("/srv/v/bin/pellucid why 42", "pellucid ps", "pellucid ps"),
        ("/usr/lib/python3/pytest why 42", "sudo pellucid why 42", "sudo pellucid why 42"),
    ],
)
def test_a_remedy_is_the_command_that_was_run(monkeypatch, words, remedy, told):
    monkeypatch.setattr(sys, "argv", shlex.split(words))
    assert as_run(remedy) == told
    assert gaps((Gap("x", "y", remedy),)) == [f"not seen: x: y; try: {told}"]


def test_what_two_looks_could_not_see_is_told_once(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pellucid", "files", "--port", "80"])
    twice = (
        Gap("9 processes", "EACCES", "sudo pellucid sockets 1"),
        Gap("9 processes", "EACCES", "sudo pellucid files 1"),
    )
    assert gaps(twice) == ["not seen: 9 processes: EACCES; try: sudo pellucid files --port 80"]
    other = Gap("the memory of pid 3", "EACCES", "sudo pellucid why 3")
    assert gaps((*twice, other))[0].startswith("not seen: 2 things (9 processes, ...): EACCES")
