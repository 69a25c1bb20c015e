#!/usr/bin/env bash
# Prints the path of checkov, installed once into build/checkov: beside the pinned packages it would want other versions.
set -euo pipefail
cd "$(dirname "$0")/.."

export PIP_CACHE_DIR=$PWD/build/cache/pip
folder=build/checkov stamp=build/checkov/requirements.sha256 pins=requirements/checkov.txt

if [ "$(cat $stamp 2>/dev/null)" != "$(sha256sum $pins)" ]; then
  .venv/bin/python -m venv --clear $folder
  $folder/bin/python -m pip install --quiet --disable-pip-version-check --requirement $pins >&2
  sha256sum $pins >$stamp
fi
echo "$PWD/$folder/bin/checkov"
