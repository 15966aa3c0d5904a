#!/usr/bin/env bash
# Make .venv and install the project with its tested versions. Instant when nothing has changed.
# A python that already has torch (a CUDA build, say) lends it: the environment then sees its packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "error: Python 3.11 or newer is needed; set PYTHON to one (found: $("$python" --version 2>&1))" >&2
    exit 3
}

stamp=$(cat pyproject.toml constraints.txt | cksum)
if [ -f .venv/.installed ] && [ "$(cat .venv/.installed)" = "$stamp" ]; then
    exit 0
fi

echo "setting up .venv (a few minutes the first time)" >&2
if [ ! -x .venv/bin/python ]; then
    if "$python" -c 'import torch' 2>/dev/null; then
        "$python" -m venv --system-site-packages .venv
    else
        "$python" -m venv .venv
    fi
fi

constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
if .venv/bin/python -c 'import torch' 2>/dev/null; then
    grep -v '^torch==' constraints.txt >"$constraints"
else
    cp constraints.txt "$constraints"
    # By itself and first: other packages ask for any torch, which would fetch a CUDA build of several GB.
    .venv/bin/pip install --quiet --disable-pip-version-check "$(grep '^torch==' constraints.txt)"
fi
.venv/bin/pip install --quiet --disable-pip-version-check -c "$constraints" -e '.[corpus,labels,dev]'
echo "$stamp" >.venv/.installed
