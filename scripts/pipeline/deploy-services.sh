#!/usr/bin/env bash
# Starts a deployment of both services of a stage and waits until it has settled: deploy-services.sh STAGE
# A release that does not become healthy is rolled back by ECS, and then its deployment is reported as failed.
# shellcheck disable=SC2016 # the backticks are JMESPath's
set -euo pipefail
stage=$1
services=("bp-$stage-backend" "bp-$stage-frontend")
deployments=()

for service in "${services[@]}"; do
  deployment=$(aws ecs update-service --cluster "bp-$stage" --service "$service" --force-new-deployment \
    --query 'service.deployments[?status==`PRIMARY`]|[0].id' --output text)
  echo "deploy-services: $service: $deployment"
  deployments+=("$deployment")
done

aws ecs wait services-stable --cluster "bp-$stage" --services "${services[@]}"
# Stable is also what a service is after its roll-back: then another deployment than ours is the primary one.
for i in "${!services[@]}"; do
  primary=$(aws ecs describe-services --cluster "bp-$stage" --services "${services[$i]}" \
    --query 'services[0].deployments[?status==`PRIMARY`]|[0].id' --output text)
  [ "$primary" = "${deployments[$i]}" ] || { echo "deploy-services: ${services[$i]} was rolled back to $primary" >&2; exit 1; }
done
