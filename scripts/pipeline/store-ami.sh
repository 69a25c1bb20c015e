#!/usr/bin/env bash
# Puts the image that Packer has built into its parameter, which starts the rollout: store-ami.sh STAGE SLUG MANIFEST
set -euo pipefail
stage=$1 slug=$2 manifest=$3

image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["builds"][-1]["artifact_id"].split(":")[1])' "$manifest")
[[ $image =~ ^ami-[0-9a-f]{8,17}$ ]] || { echo "store-ami: not an image: $image" >&2; exit 1; }
# The data type has Parameter Store look whether there is such an image; a launch would find out later, and every time.
aws ssm put-parameter --name "/bp/$stage/ami/$slug" --value "$image" --type String --data-type aws:ec2:image --overwrite >/dev/null

# It looks after it has answered, and takes the new value only then.
for _ in $(seq "${STORE_AMI_TRIES:-30}"); do
  stored=$(aws ssm get-parameter --name "/bp/$stage/ami/$slug" --query Parameter.Value --output text)
  if [ "$stored" = "$image" ]; then
    echo "store-ami: /bp/$stage/ami/$slug is $image"
    exit 0
  fi
  sleep "${STORE_AMI_PAUSE:-2}"
done
echo "store-ami: Parameter Store has not taken $image; /bp/$stage/ami/$slug is $stored" >&2
exit 1
