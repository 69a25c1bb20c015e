#!/usr/bin/env bash
# Runs the image's steps for real in a root of the same Ubuntu, twice each, because an interrupted build is repeated.
# Needs root, debootstrap and the internet; takes some minutes. Everything is below build/image-test.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/packer
# shellcheck source=packer/versions.sh
. packer/versions.sh
# shellcheck source=packer/test/trial.sh
. packer/test/trial.sh

if [ "${1:-}" != inside ]; then
  [ "$(id -u)" -eq 0 ] || exec sudo -E "$0"
  # Mounts of its own: whatever happens, none is left behind.
  exec unshare --mount --pid --fork --kill-child "$0" inside
fi

mirror=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu}
keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
work=$PWD/build/image-test
root=$work/root
say() { echo "image-test: $*"; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"; }

make_root() {
  local verify=(--keyring "$keyring")
  if [ ! -e "$keyring" ]; then
    say "no keyring of Ubuntu's archive on this machine: the test's root is not verified (the image's packages are, by its own keys)"
    verify=(--no-check-gpg)
  fi
  say "Ubuntu $BASE_RELEASE from $mirror"
  rm -rf "$root"
  mkdir -p "$root"
  # Every release of Ubuntu is made by the same recipe; an older debootstrap does not know this one's name.
  debootstrap "${verify[@]}" --variant=minbase --merged-usr --include=systemd,systemd-sysv,python3,sudo \
    noble "$root" "$mirror" /usr/share/debootstrap/scripts/gutsy >"$work/debootstrap.log" \
    || { tail -5 "$root/debootstrap/debootstrap.log"; return 1; }
  for suite in noble noble-updates noble-security; do
    echo "deb $mirror $suite main restricted universe multiverse"
  done >"$root/etc/apt/sources.list"
}

prepare() {
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  # A machine that goes out through a proxy of its own trusts that proxy's authority; so does pip in here.
  mkdir -p "$root/etc/ssl/host"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/host/ca.crt"
  printf '[global]\ncert = /etc/ssl/host/ca.crt\n' >"$root/etc/pip.conf"
  # No service starts in here: there is no init to start it.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  upload
}

# What Packer uploads, where it uploads it.
upload() {
  rm -rf "$root/home/ubuntu/image"
  mkdir -p "$root/home/ubuntu/image"
  cp -r "$here"/{versions.sh,scripts,files,aws,comfyui,worker} "$root/home/ubuntu/image/"
}

step() { inside bash "/home/ubuntu/image/scripts/$1" "${@:2}"; }

# What a step finds in its own copy of versions.sh.
in_there() { sed -i "s|^$1=.*|$1=$2|" "$root/home/ubuntu/image/versions.sh"; }

reachable() { curl --silent --head --fail --location --max-time 20 --output /dev/null "$1"; }

# Where ComfyUI's repository cannot be reached: one commit of a program that has its files' names, fetched by git as well.
offer_another_comfyui() {
  local other=$root/srv/comfyui
  mkdir -p "$other/models/checkpoints"
  printf '__version__ = "%s"\n' "$COMFYUI_VERSION" >"$other/comfyui_version.py"
  touch "$other/main.py" "$other/models/checkpoints/put_checkpoints_here"
  cp "$here/comfyui/requirements.in" "$other/requirements.txt"
  inside apt-get install -y -qq --no-install-recommends git ca-certificates >/dev/null
  inside git -C /srv/comfyui init --quiet
  inside git -C /srv/comfyui add .
  inside git -C /srv/comfyui -c user.name=test -c user.email=test@example.invalid commit --quiet --message other
  in_there COMFYUI_REPOSITORY file:///srv/comfyui
  in_there COMFYUI_COMMIT "$(inside git -C /srv/comfyui rev-parse HEAD)"
}

# Where the agent's archive cannot be reached: a package of its name, version and unit, fetched and checked like it.
offer_another_agent() {
  local tree=$root/srv/agent archive=$root/srv/archive/$CLOUDWATCH_AGENT_VERSION
  mkdir -p "$tree/DEBIAN" "$tree/usr/lib/systemd/system" "$archive"
  printf 'Package: amazon-cloudwatch-agent\nVersion: %s\nArchitecture: amd64\nMaintainer: test\nDescription: a substitute\n' \
    "$CLOUDWATCH_AGENT_VERSION" >"$tree/DEBIAN/control"
  printf '[Unit]\nDescription=a substitute\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
    >"$tree/usr/lib/systemd/system/amazon-cloudwatch-agent.service"
  inside dpkg-deb --build /srv/agent "/srv/archive/$CLOUDWATCH_AGENT_VERSION/amazon-cloudwatch-agent.deb" >/dev/null
  in_there CLOUDWATCH_AGENT_ARCHIVE file:///srv/archive
  in_there CLOUDWATCH_AGENT_SHA256 "$(sha256sum "$archive/amazon-cloudwatch-agent.deb" | cut -d ' ' -f 1)"
}

# Judged by what is there in the end, not by what was meant.
substitute_in() {
  case $1 in
    install-comfyui.sh) [ "$(git -c safe.directory='*' -C "$root/opt/comfyui/app" rev-parse HEAD)" = "$COMFYUI_COMMIT" ] || echo "ComfyUI's source" ;;
    install-cloudwatch-agent.sh) [ -x "$root/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent" ] || echo "the CloudWatch agent's package" ;;
  esac
}

# The driver's packages: are they there in this version, and do they go together? Nothing is installed but the program
# that ComfyUI's unit names, which needs no driver.
simulate() {
  [ "$1" = install-nvidia-drivers.sh ]
  inside apt-get install -y -qq --no-install-recommends nvidia-modprobe >/dev/null
  inside apt-get install --simulate -qq --no-install-recommends \
    "nvidia-headless-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" "nvidia-dkms-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" \
    "nvidia-utils-$NVIDIA_BRANCH=$NVIDIA_PACKAGE_VERSION" nvidia-modprobe | grep '^Inst' >"$work/driver.txt"
  say "$1: $(wc -l <"$work/driver.txt") packages would be installed"
}

# The last one takes these files away, and itself; the others are done twice.
run_step() {
  SECONDS=0
  case $1 in
    self-test.sh) step self-test.sh --without-gpu ;;
    clean-up.sh) step clean-up.sh ;;
    *) step "$1" && step "$1" ;;
  esac && say "$1: $SECONDS s"
}

mkdir -p "$work"
make_root
prepare
reachable "$COMFYUI_REPOSITORY" || offer_another_comfyui
reachable "$CLOUDWATCH_AGENT_ARCHIVE/$CLOUDWATCH_AGENT_VERSION/amazon-cloudwatch-agent.deb" || offer_another_agent
go_through packer/test/steps "$work/report"
say "what was done:"
cat "$work/report"
judge packer/test/steps "$work/report"
say "done, as packer/test/steps says"
