#!/usr/bin/env bash
# Takes out what belongs to the building instance alone: identity, keys, logs, caches, and these files.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

apt-get clean
rm -rf /var/lib/apt/lists/* /root/.cache /home/*/.cache /var/lib/comfyui/temp/* /var/lib/comfyui/user/*
find /var/log -type f -exec truncate --size 0 {} +
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /root/.bash_history /home/*/.bash_history
# Empty, not absent: the next boot makes a new one.
truncate --size 0 /etc/machine-id
rm -f /var/lib/dbus/machine-id
if command -v cloud-init >/dev/null; then
  cloud-init clean --logs --seed
fi
rm -rf "$image"
echo "clean-up: done"
