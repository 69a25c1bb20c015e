#!/usr/bin/env bash
# Prints the folder of a Python 3.13 with pip, the version of the Lambda runtime; says what is missing if there is none.
set -euo pipefail

usable() { "$1" -m pip --version >/dev/null 2>&1; }

if usable python3.13; then
  dirname "$(command -v python3.13)"
  exit
fi
for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
  if usable "$python"; then
    dirname "$python"
    exit
  fi
done
echo "python3.13 with pip is missing: it builds what runs on Lambda (on PATH or from pyenv: pyenv install 3.13)" >&2
exit 1
