#!/usr/bin/env bash
# Compiles the lists of pins: hashed for what goes to Lambda, GPU instances and their image, plain and for every
# supported Python for development and checkov.
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
compile --python-version 3.11 --universal --generate-hashes \
  packer/worker/requirements.in -o packer/worker/requirements.txt
compile --python-version 3.11 --universal requirements/dev.in -o requirements/dev.txt
compile --python-version 3.11 --universal requirements/checkov.in -o requirements/checkov.txt

# The image's own: for its Ubuntu's Python, and what brings CUDA apart, because a trial without GPU leaves that out.
image=(--python-version 3.12 --python-platform x86_64-manylinux_2_39 --generate-hashes)
compile "${image[@]}" packer/aws/requirements.in -o packer/aws/requirements.txt
compile "${image[@]}" packer/comfyui/requirements.in -o build/comfyui.txt
awk -v cuda=packer/comfyui/cuda.txt -v rest=packer/comfyui/requirements.txt '
  /^[^ ]/ { to = /^(torch|torchvision|triton)==|^nvidia-|^cuda-/ ? cuda : rest }
  { print > to }' build/comfyui.txt
