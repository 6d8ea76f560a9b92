#!/bin/sh
# Makes the virtual environment: only what requirements/dev.lock names, by hash, and this project, editable.
# Called by the Makefile. VENV: where; PYTHON: which interpreter (empty: the first that fits).
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
lock=requirements/dev.lock

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

fail() {
    echo "setup: $*" >&2
    exit 2
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of version 3.11 or later"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>&1 || true)
    fail "Python 3.11 or later is needed (python3 here: ${found:-none}). Install one, or name it: make setup PYTHON=/path/to/python3"
}

if [ -e "$venv/bin/python" ] && ! fits "$venv/bin/python"; then
    fail "$venv holds a broken or too old Python; remove it (make clean) and try again"
fi
if [ ! -e "$venv/bin/python" ]; then
    python=$(find_python)
    echo "setup: new environment in $venv with $("$python" --version)"
    # Some distributions split ensurepip off; then the first form fails and leaves a half-made folder.
    "$python" -m venv "$venv" >/dev/null 2>&1 || "$python" -m venv --clear --without-pip "$venv" ||
        fail "the module venv is missing; install it (Debian and Ubuntu: apt-get install python3-venv)"
fi
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$venv/bin/python" -m ensurepip >/dev/null 2>&1 ||
        fail "pip is missing and ensurepip cannot provide it (Debian and Ubuntu: apt-get install python3-venv)"
fi

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@"
}

echo "setup: installing the locked packages (a minute or two the first time)"
pip install --quiet --require-hashes --no-deps -r "$lock"
pip install --quiet --no-deps --no-build-isolation --editable .
echo "setup: done"
