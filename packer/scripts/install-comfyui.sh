#!/usr/bin/env bash
# ComfyUI at its commit, as its own user, with its unit. PyTorch comes from install-pytorch.sh.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
app=/opt/comfyui/app
data=/var/lib/comfyui

if [ "$(git -C $app rev-parse HEAD 2>/dev/null)" != "$COMFYUI_COMMIT" ]; then
  say "fetching $COMFYUI_COMMIT"
  rm -rf $app
  git init --quiet $app
  git -C $app fetch --quiet --depth 1 "$COMFYUI_REPOSITORY" "$COMFYUI_COMMIT"
  git -C $app checkout --quiet --detach "$COMFYUI_COMMIT"
fi
grep -q "__version__ = \"$COMFYUI_VERSION\"" $app/comfyui_version.py || give_up "$COMFYUI_COMMIT is not version $COMFYUI_VERSION"

has_venv /opt/comfyui/venv
pip_install /opt/comfyui/venv "$image/comfyui/requirements.txt"

has_user comfyui $data
install -d -m 755 -o comfyui -g comfyui $data $data/input $data/output $data/temp $data/user $data/custom_nodes
# Models are root's: what a prompt makes ComfyUI write never replaces one.
install -d -m 755 $data/models
if [ -d $app/models ]; then
  cp -r --update=none --no-preserve=ownership $app/models/. $data/models/
fi

install -m 644 "$image/files/comfyui.service" /etc/systemd/system/comfyui.service
install -m 644 "$image/files/comfyui.tmpfiles" /etc/tmpfiles.d/comfyui.conf
install -D -m 644 "$image/files/tmpfiles-timer.conf" /etc/systemd/system/systemd-tmpfiles-clean.timer.d/comfyui.conf
systemctl enable --quiet comfyui.service
say "$COMFYUI_VERSION ($COMFYUI_COMMIT)"
