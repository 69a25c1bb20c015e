#!/usr/bin/env bash
# Sees that there is a MariaDB server to start and makes .venv from requirements/dev.txt. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
trap 'echo "setup: interrupted; run the same command again to go on" >&2; exit 130' INT

export PIP_CACHE_DIR=$PWD/build/cache/pip
requirements=requirements/dev.txt
stamp=.venv/requirements.sha256

say() { echo "setup: $*"; }
give_up() { echo "setup: $*" >&2; exit 1; }

# apt_install PACKAGE WHAT: installs it where we may, else says in one line what is missing.
apt_install() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
    sudo -n true 2>/dev/null || give_up "$2 is missing; install it first: sudo apt-get install --no-install-recommends $1"
  fi
  command -v apt-get >/dev/null || give_up "$2 is missing and this system has no apt-get; install it first (Debian: $1)"
  say "installing $1 ($2)"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$1" >/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  give_up "no Python 3.11 or later found; install python3, or name one: make setup PYTHON=/path/to/python3"
}

make_venv() {
  local python
  python=$(find_python)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" "venv of $python"
  fi
  say "creating .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
  install_packages
  checksum >"$stamp"
}

install_packages() {
  local count
  count=$(grep -c '==' $requirements)
  say "installing $count pinned packages into .venv (a minute or two)"
  .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --only-binary=:all: \
    --requirement $requirements | awk -v of="$count" '
      /^Collecting/ && ++n % 25 == 0 { print "setup: " n " of " of " fetched"; fflush() }
      /^Installing/ { print "setup: writing them"; fflush() }'
}

checksum() { sha256sum $requirements; }

mkdir -p build/tmp
# First what may not be ours to install: whoever lacks it should not wait for the packages to hear of it.
if ! PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mariadbd >/dev/null; then
  apt_install mariadb-server-core "MariaDB server (only its program; no service is started)"
fi
# Elsewhere the tests of the images skip themselves where these are missing: two of the packages would start services.
if [ "${CI:-}" = true ]; then
  PATH=$PATH:/usr/sbin command -v nginx >/dev/null || apt_install nginx-light "nginx, for the tests of the backend's images"
  compgen -G '/usr/sbin/php-fpm*' >/dev/null || apt_install php-fpm "php-fpm, for the tests of the backend's images"
  scripts/packer.sh >/dev/null || apt_install packer "Packer, for the tests of the machine image"
fi
if [ "$(cat $stamp 2>/dev/null)" != "$(checksum)" ]; then
  make_venv
fi
