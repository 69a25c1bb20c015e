# shellcheck shell=bash disable=SC2034
# Every version of the machine image. Read by the scripts as shell and by comfyui-worker.pkr.hcl as NAME=value lines:
# one line each, no expansion. Python packages are pinned with hashes in aws/, comfyui/ and worker/.

# Canonical's Ubuntu 24.04, the first with a Python that the worker runs on. The newest build of it, for its security
# updates; which one it was is in the image's tags.
BASE_OWNER=099720109477
BASE_FILTER="ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"
BASE_RELEASE=24.04

# The driver is installed from the archive as it was on this day, so that it can still be had when a newer one is out.
APT_SNAPSHOT=20261122T000000Z
# Open kernel modules: T4 (g4dn) is the oldest generation that they serve.
NVIDIA_BRANCH=580-server
NVIDIA_PACKAGE_VERSION=580.178.04-0ubuntu0.24.04.1
NVIDIA_VERSION=580.178.04

# CUDA comes with PyTorch's packages; driver 580 is the branch of CUDA 13.0.
CUDA_VERSION=13.0
PYTORCH_VERSION=2.13.0

COMFYUI_REPOSITORY=https://github.com/Comfy-Org/ComfyUI.git
COMFYUI_VERSION=0.38.1
COMFYUI_COMMIT=20ca544ee0436721d8eb5f544665e490609f72c8

CLOUDWATCH_AGENT_ARCHIVE=https://amazoncloudwatch-agent.s3.amazonaws.com/ubuntu/amd64
CLOUDWATCH_AGENT_VERSION=1.300072.0b1766
CLOUDWATCH_AGENT_SHA256=05baeadca96c4bb8e43906ed09cf0bebd0f321ff6d41987bdc46ce681de0978d
