#!/bin/sh
# Makes the virtual environment DIRECTORY, once, and installs this checkout into it with the given extras:
#     scripts/environment.sh DIRECTORY EXTRAS [ARGUMENTS OF PIP...]
# PYTHON names the interpreter to make it from. A directory whose interpreter still works is kept and brought up to date.
# It needs nothing but PATH, and speaks in whole sentences about the one thing that is missing.
set -eu
umask 022 # the environment holds no secrets, and pellucid may run as another user than the one who installed it

directory=$1
extras=$2
shift 2
python=${PYTHON:-python3}

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

check_version() {
    command -v "$python" >/dev/null 2>&1 || refuse \
        "pellucid needs Python 3.11 or newer, and there is no \"$python\" on PATH." \
        "Install one, or name yours: make PYTHON=/path/to/python3.11 ..."
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || refuse \
        "\"$python\" does not start (see above). Name another one: make PYTHON=/path/to/python3.11 ..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || refuse \
        "pellucid needs Python 3.11 or newer, and \"$python\" is $version." \
        "Name a newer one: make PYTHON=/path/to/python3.11 ..."
}

# Debian and Ubuntu leave ensurepip out of python3 and ship it as pythonX.Y-venv.
check_venv() {
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    package="python$version-venv"
    command -v apt-get >/dev/null 2>&1 || refuse \
        "\"$python\" (Python $version) has no venv and ensurepip modules, which are part of Python." \
        "Install them, or name another Python: make PYTHON=/path/to/python3.11 ..."
    [ "$(id -u)" -eq 0 ] || refuse \
        "\"$python\" (Python $version) can't make virtual environments yet. This one command changes that:" \
        "    sudo apt-get install $package"
    echo "Installing $package, which this Python needs to make virtual environments."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null; } || refuse \
        "apt-get could not install $package (see above)." \
        "Install it by hand, or name another Python: make PYTHON=/path/to/python3.11 ..."
}

if ! "$directory/bin/python" -c 'import pip' >/dev/null 2>&1; then
    check_version
    check_venv
    echo "Making $directory with Python $version."
    "$python" -m venv --clear "$directory"
fi
echo "Installing pellucid[$extras] into $directory (the first time takes a minute or two)."
"$directory/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input --editable ".[$extras]" "$@"
