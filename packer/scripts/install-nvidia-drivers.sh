#!/usr/bin/env bash
# The driver, built for the running kernel, which stays. It answers from the next boot on: check-nvidia-drivers.sh.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

installed=$(dpkg-query -W -f '${Version}' "nvidia-utils-$NVIDIA_BRANCH" 2>/dev/null || true)
if [ "$installed" = "$NVIDIA_PACKAGE_VERSION" ] && dkms status | grep -q "$(uname -r).*installed"; then
  say "$NVIDIA_VERSION is installed for $(uname -r)"
  exit 0
fi

# DKMS builds for the kernels whose headers it finds: exactly the running one's.
apt_install "linux-headers-$(uname -r)" dkms gcc make
apt-mark hold "linux-image-$(uname -r)" "linux-headers-$(uname -r)" >/dev/null

say "installing $NVIDIA_PACKAGE_VERSION as of $APT_SNAPSHOT"
apt-get -o DPkg::Lock::Timeout=300 update -qq --snapshot "$APT_SNAPSHOT"
apt_install --snapshot "$APT_SNAPSHOT" \
  "nvidia-headless-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" \
  "nvidia-dkms-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" \
  "nvidia-utils-$NVIDIA_BRANCH=$NVIDIA_PACKAGE_VERSION" \
  nvidia-modprobe
apt-mark hold "nvidia-headless-$NVIDIA_BRANCH-open" "nvidia-dkms-$NVIDIA_BRANCH-open" "nvidia-utils-$NVIDIA_BRANCH" >/dev/null
printf 'nvidia\nnvidia-uvm\n' >/etc/modules-load.d/nvidia.conf

dkms status | grep -q "$(uname -r).*installed" || give_up "DKMS has built no module for $(uname -r): $(dkms status)"
say "installed; reboot"
