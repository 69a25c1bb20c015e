#!/usr/bin/env bash
# After the reboot: the driver answers, in the version that was asked for.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

found=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | sort -u)
[ "$found" = "$NVIDIA_VERSION" ] || give_up "the driver says $found instead of $NVIDIA_VERSION"
say "$(nvidia-smi --query-gpu=name --format=csv,noheader) with driver $found"
