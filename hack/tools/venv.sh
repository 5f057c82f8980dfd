#!/bin/sh
# venv.sh DIRECTORY LOCK: make a virtual environment that holds what the lock file says, no more.
# PYTHON=python3.13 says of which Python; without it, of the newest that is there.
set -eu
venv=$1
lock=$2

fail() {
    echo "error: $*" >&2
    exit 1
}

# A name on PATH may be a stub of a version manager, so each is run before it is believed.
chosen_python() {
    candidates=${PYTHON:-python3.13 python3.12 python3.11 python3}
    for candidate in $candidates; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed (tried $candidates)"
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(chosen_python)
    echo "making $venv with $("$python" --version)" >&2
    "$python" -m venv --clear "$venv" >&2 ||
        fail "$python has no venv module (Debian, Ubuntu: apt install $python-venv)"
fi

# uv installs the rest faster; its version and its hashes are those of the lock file.
sed -n '/^uv==/,/[^\\]$/p' "$lock" >"$venv/uv.lock"
echo "installing $(grep -c '^[a-z].*==' "$lock") packages" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --require-hashes --requirement "$venv/uv.lock" >&2
quiet=--quiet
if [ -t 2 ]; then quiet=; fi
# shellcheck disable=SC2086 # an empty word must vanish
"$venv/bin/uv" pip sync $quiet --python "$venv/bin/python" --require-hashes "$lock"
rm -f "$venv"/.installed-*
