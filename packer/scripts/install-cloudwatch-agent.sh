#!/usr/bin/env bash
# What ComfyUI, the worker and user data say goes to files, and from there to the log group that user data names.
# shellcheck source=packer/scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

installed=$(dpkg-query -W -f '${Version}' amazon-cloudwatch-agent 2>/dev/null || true)
if [[ $installed != "$CLOUDWATCH_AGENT_VERSION"* ]]; then
  package=$(mktemp --suffix=.deb)
  trap 'rm -f "$package"' EXIT
  curl --fail --silent --show-error --location --retry 5 --output "$package" \
    "$CLOUDWATCH_AGENT_ARCHIVE/$CLOUDWATCH_AGENT_VERSION/amazon-cloudwatch-agent.deb"
  echo "$CLOUDWATCH_AGENT_SHA256  $package" | sha256sum --check --quiet
  dpkg --install "$package" >/dev/null
fi

install -d -m 755 -o syslog -g adm /var/log/gpu-worker
install -m 644 "$image/files/rsyslog.conf" /etc/rsyslog.d/10-gpu-worker.conf
install -m 644 "$image/files/logrotate.conf" /etc/logrotate.d/gpu-worker
rsyslogd -N1 >/dev/null 2>&1 || give_up "rsyslog refuses its configuration: $(rsyslogd -N1 2>&1)"
install -D -m 644 "$image/files/cloudwatch-agent.json" /opt/gpu-worker-logs/cloudwatch-agent.json
install -m 755 "$image/files/start-logs" /opt/gpu-worker-logs/start
install -m 644 "$image/files/gpu-worker-logs.service" /etc/systemd/system/gpu-worker-logs.service
# Started with a log group by gpu-worker-logs.service, and never without.
systemctl disable --quiet amazon-cloudwatch-agent.service
say "$CLOUDWATCH_AGENT_VERSION"
