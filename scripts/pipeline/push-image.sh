#!/usr/bin/env bash
# Builds one image and pushes it under two tags: push-image.sh REPOSITORY PREFIX TAG BUILD-ARGUMENT…
# PREFIX-current is what the task definitions name; PREFIX-TAG is there to go back to. The architecture is this machine's.
set -euo pipefail
repository=$1 prefix=$2 tag=$3
shift 3

architecture=$(uname -m)
[ "$architecture" = aarch64 ] || { echo "push-image: Fargate runs ARM64, this machine builds $architecture" >&2; exit 1; }
registry=$(aws sts get-caller-identity --query Account --output text).dkr.ecr.$AWS_REGION.amazonaws.com
aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"

image=$registry/$repository
docker buildx build --provenance=false --tag "$image:$prefix$tag" --tag "$image:${prefix}current" --push "$@"
echo "push-image: $repository:$prefix$tag"
