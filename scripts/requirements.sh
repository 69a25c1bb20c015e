#!/usr/bin/env bash
# Compiles the lists of pins: hashed for what goes to Lambda, plain and for every supported Python for development and checkov.
set -euo pipefail
cd "$(dirname "$0")/.."

export PIP_CACHE_DIR=$PWD/build/cache/pip UV_CACHE_DIR=$PWD/build/cache/uv
tools=build/tools
[ -x $tools/bin/uv ] || { .venv/bin/python -m venv $tools && $tools/bin/pip install --quiet uv; }
compile() { $tools/bin/uv pip compile --quiet --upgrade --no-header --no-annotate "$@"; }

# The X-Ray SDK asks for botocore, which the runtime brings with all that it needs.
from_runtime=(--no-emit-package botocore --no-emit-package python-dateutil --no-emit-package six --no-emit-package urllib3)
compile --python-version 3.13 --generate-hashes "${from_runtime[@]}" \
  layers/dependencies/requirements.in -o layers/dependencies/requirements.txt
compile --python-version 3.11 --universal requirements/dev.in -o requirements/dev.txt
compile --python-version 3.11 --universal requirements/checkov.in -o requirements/checkov.txt
