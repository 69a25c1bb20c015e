#!/usr/bin/env bash
# Runs the image's steps for real in a root of the same Ubuntu, twice each, because an interrupted build is repeated.
# Needs root, debootstrap and the internet; takes some minutes. Everything is below build/image-test.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/packer
# shellcheck source=packer/versions.sh
. packer/versions.sh

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

reachable() { curl --silent --head --fail --location --max-time 20 --output /dev/null "$1"; }

# Where ComfyUI's repository cannot be reached, one commit of a program that has its files' names.
stand_in_comfyui() {
  local stand_in=$root/srv/comfyui
  mkdir -p "$stand_in/models/checkpoints"
  printf '__version__ = "%s"\n' "$COMFYUI_VERSION" >"$stand_in/comfyui_version.py"
  touch "$stand_in/main.py" "$stand_in/models/checkpoints/put_checkpoints_here"
  inside apt-get install -y -qq --no-install-recommends git ca-certificates >/dev/null
  inside git -C /srv/comfyui init --quiet
  inside git -C /srv/comfyui add .
  inside git -C /srv/comfyui -c user.name=test -c user.email=test@example.invalid commit --quiet --message stand-in
  inside git config --system "url.file:///srv/comfyui.insteadOf" "$COMFYUI_REPOSITORY"
  sed -i "s/^COMFYUI_COMMIT=.*/COMFYUI_COMMIT=$(inside git -C /srv/comfyui rev-parse HEAD)/" "$root/home/ubuntu/image/versions.sh"
}

# Where the agent's package cannot be reached, one that has its name, version and unit.
stand_in_agent() {
  local tree=$root/srv/agent
  mkdir -p "$tree/DEBIAN" "$tree/usr/lib/systemd/system"
  printf 'Package: amazon-cloudwatch-agent\nVersion: %s\nArchitecture: amd64\nMaintainer: test\nDescription: stand-in\n' \
    "$CLOUDWATCH_AGENT_VERSION" >"$tree/DEBIAN/control"
  printf '[Unit]\nDescription=stand-in\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
    >"$tree/usr/lib/systemd/system/amazon-cloudwatch-agent.service"
  inside dpkg-deb --build /srv/agent /srv/agent.deb >/dev/null
  inside dpkg --install /srv/agent.deb >/dev/null
}

# The driver's packages: are they there in this version, and do they go together? Nothing is installed but the program
# that ComfyUI's unit names, which needs no driver.
simulate_driver() {
  inside apt-get install -y -qq --no-install-recommends nvidia-modprobe >/dev/null
  inside apt-get install --simulate -qq --no-install-recommends \
    "nvidia-headless-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" "nvidia-dkms-$NVIDIA_BRANCH-open=$NVIDIA_PACKAGE_VERSION" \
    "nvidia-utils-$NVIDIA_BRANCH=$NVIDIA_PACKAGE_VERSION" nvidia-modprobe | grep -c '^Inst'
}

run_steps() {
  local name how why
  while read -r name how why; do
    case $how in
      runs)
        if [ "$name" = self-test.sh ]; then
          step self-test.sh --without-gpu
        else
          SECONDS=0
          step "$name"
          # The last one takes these files away, and itself.
          [ "$name" = clean-up.sh ] || step "$name"
          say "$name: $SECONDS s"
        fi ;;
      simulated) say "$name: $(simulate_driver) packages would be installed; the rest is not run ($why)" ;;
      not-run) say "$name: not run ($why)" ;;
    esac
  done < <(grep -v '^#' packer/test/steps)
}

mkdir -p "$work"
make_root
prepare
if ! reachable "$COMFYUI_REPOSITORY"; then
  say "ComfyUI's repository cannot be reached from here: a stand-in's commit takes its place"
  stand_in_comfyui
fi
if ! reachable "https://amazoncloudwatch-agent.s3.amazonaws.com/ubuntu/amd64/$CLOUDWATCH_AGENT_VERSION/amazon-cloudwatch-agent.deb"; then
  say "the CloudWatch agent's package cannot be reached from here: a stand-in takes its place"
  stand_in_agent
fi
run_steps
say "done"
