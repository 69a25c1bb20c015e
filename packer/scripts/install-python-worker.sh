#!/usr/bin/env bash
# The worker, as its own user. Its unit is not enabled: user data starts it when /opt/worker/env is written.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

has_user worker /var/lib/comfyui-worker
install -d -m 755 /opt/worker
rm -rf /opt/worker/comfyui_worker
cp -r --no-preserve=ownership,mode "$image/worker/comfyui_worker" /opt/worker/comfyui_worker
find /opt/worker/comfyui_worker -name __pycache__ -prune -exec rm -rf {} +

has_venv /opt/worker/venv
pip_install /opt/worker/venv "$image/worker/requirements.txt"
PYTHONPATH=/opt/worker /opt/worker/venv/bin/python -m compileall -q /opt/worker/comfyui_worker

install -m 644 "$image/worker/comfyui-worker.service" /etc/systemd/system/comfyui-worker.service
say "installed"
