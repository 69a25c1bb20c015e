# shellcheck shell=bash
# What every step begins with. Steps run as root, in any order that HCL gives them, and may be run again.
set -euo pipefail
image=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=packer/versions.sh
. "$image/versions.sh"
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1

say() { echo "$(basename "$0" .sh): $*"; }
give_up() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }

# apt_install PACKAGE…: waits for whoever else holds apt, as a machine's own updates do after boot.
apt_install() { apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null; }

# has_user NAME HOME: a user without login or password, and without a shell.
has_user() {
  id "$1" >/dev/null 2>&1 || useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

# has_venv FOLDER: one that is half made (an interrupted build) is made again.
has_venv() {
  "$1/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$1"
}

# pip_install VENV FILE…: exactly what the files list, each package with the hash that stands there.
pip_install() {
  local venv=$1 file
  shift
  for file; do
    "$venv/bin/python" -m pip install --quiet --no-deps --require-hashes --only-binary=:all: --requirement "$file"
  done
}
