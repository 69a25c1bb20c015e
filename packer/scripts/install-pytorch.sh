#!/usr/bin/env bash
# PyTorch and the CUDA libraries that it brings (about 5 GB), in ComfyUI's environment.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

has_venv /opt/comfyui/venv
pip_install /opt/comfyui/venv "$image/comfyui/cuda.txt"
say "PyTorch $PYTORCH_VERSION for CUDA $CUDA_VERSION"
