#!/usr/bin/env bash
# Kernel held, updates, what the other steps need, and the AWS command line that user data calls.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$ID $VERSION_ID")
[ "$release" = "ubuntu $BASE_RELEASE" ] || give_up "made for Ubuntu $BASE_RELEASE, this is $release"

# A new kernel under a driver built for another leaves a machine without GPU at its next boot.
kernels=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-image*' 'linux-headers*' 'linux-modules*' linux-aws 2>/dev/null \
  | awk '$1 == "ii" { print $2 }' || true)
# shellcheck disable=SC2086 # one package a word
[ -z "$kernels" ] || apt-mark hold $kernels >/dev/null

# Nor may an instance change while it works: images are made anew instead.
systemctl mask apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service >/dev/null 2>&1 || give_up "cannot mask updates"

say "updating"
apt-get -o DPkg::Lock::Timeout=300 update -qq
apt-get -o DPkg::Lock::Timeout=300 upgrade -y -qq >/dev/null
apt_install ca-certificates curl git logrotate python3-venv rsyslog

has_venv /opt/aws-cli
pip_install /opt/aws-cli "$image/aws/requirements.txt"
ln -sfn /opt/aws-cli/bin/aws /usr/local/bin/aws
say "$(aws --version), kernel packages held: ${kernels:-none}"
