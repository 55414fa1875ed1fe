"""What a newcomer reads when Python is missing, too old, or without venv; each time one sentence and one command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import interpreters

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "environment.sh"


@pytest.fixture
def machine(tmp_path):
    """Runs the script with PATH = a folder of the given programs, in an empty environment."""

    def run(python, **programs):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        return subprocess.run(
            ["/bin/sh", SCRIPT, tmp_path / "a venv", "all"],
            env={"PATH": str(folder), "PYTHON": str(python)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def without_ensurepip(tmp_path):
    """A Python that makes no virtual environments until `fixed` lies beside it, as Debian's without python3-venv."""
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) [ -e "{tmp_path}/fixed" ]; exit;; *venv*) echo "made $*"; exit 7;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_no_python_at_all(machine):
    ended = machine("python3")
    assert ended.returncode == 1
    assert ended.stderr.startswith('pellucid needs Python 3.11 or newer, and there is no "python3" on PATH.')
    assert "make PYTHON=" in ended.stderr


@pytest.mark.parametrize("python", interpreters.each(("3.8", "3.9", "3.10")))
def test_an_old_python(machine, python):
    ended = machine(python.path)
    assert ended.returncode == 1
    assert f"is {python.version}." in ended.stderr
    assert "make PYTHON=" in ended.stderr


def test_no_venv_and_no_root_prints_the_one_command(machine, tmp_path):
    ended = machine(without_ensurepip(tmp_path), id="echo 1000", apt_get="exit 9")
    assert ended.returncode == 1
    version = "{}.{}".format(*sys.version_info)
    assert ended.stderr.splitlines()[1].strip() == f"sudo apt-get install python{version}-venv"


def test_no_venv_and_root_installs_it_and_goes_on(machine, tmp_path):
    ended = machine(
        without_ensurepip(tmp_path), id="echo 0", apt_get=f'echo "$@" >>"{tmp_path}/asked"; : >"{tmp_path}/fixed"'
    )
    version = "{}.{}".format(*sys.version_info)
    assert (tmp_path / "asked").read_text().splitlines() == ["update -qq", f"install -y -qq python{version}-venv"]
    assert ended.returncode == 7, "the venv is asked of the same Python afterwards"
    assert f"made -m venv --clear {tmp_path}/a venv" in ended.stdout


def test_no_venv_and_apt_fails(machine, tmp_path):
    ended = machine(without_ensurepip(tmp_path), id="echo 0", apt_get="echo 'E: no network' >&2; exit 100")
    assert ended.returncode == 1
    assert "E: no network" in ended.stderr
    assert "could not install" in ended.stderr


def test_the_script_can_be_executed():
    assert os.access(SCRIPT, os.X_OK)
