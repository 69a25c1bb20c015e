#!/usr/bin/env bash
# Models from MODELS_URI (s3://…), when there is one; laid out like ComfyUI's own folder of models.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ -z "${MODELS_URI:-}" ]; then
  say "none given"
  exit 0
fi
aws s3 sync --only-show-errors "$MODELS_URI" /var/lib/comfyui/models
chmod -R u=rwX,go=rX /var/lib/comfyui/models
say "$(find /var/lib/comfyui/models -type f | wc -l) files, $(du -sh /var/lib/comfyui/models | cut -f1) from $MODELS_URI"
