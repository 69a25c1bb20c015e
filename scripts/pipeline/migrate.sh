#!/usr/bin/env bash
# Runs the backend's migrations as one task of its own, then has the control plane's user given its grants on new tables:
# migrate.sh STAGE. Fails with the migration's own exit code.
# shellcheck disable=SC2016 # the backticks are JMESPath's
set -euo pipefail
stage=$1
service=bp-$stage-backend

# Where and as what the service itself runs.
network=$(aws ecs describe-services --cluster "bp-$stage" --services "$service" --query 'services[0].networkConfiguration' --output json)
definition=$(aws ecs describe-services --cluster "bp-$stage" --services "$service" --query 'services[0].taskDefinition' --output text)
# php-fpm is essential: when the migration ends, so does the task.
overrides='{"containerOverrides": [{"name": "php-fpm", "command": ["php", "artisan", "migrate", "--force"]}]}'
task=$(aws ecs run-task --cluster "bp-$stage" --task-definition "$definition" --launch-type FARGATE \
  --network-configuration "$network" --overrides "$overrides" --started-by migrations --query 'tasks[0].taskArn' --output text)
[ "$task" != None ] || { echo "migrate: ECS has started no task" >&2; exit 1; }
echo "migrate: $task"

# Each wait gives up after ten minutes; the job does after thirty.
for _ in 1 2 3; do
  aws ecs wait tasks-stopped --cluster "bp-$stage" --tasks "$task" && break
done
code=$(aws ecs describe-tasks --cluster "bp-$stage" --tasks "$task" --query 'tasks[0].containers[?name==`php-fpm`]|[0].exitCode' --output text)
if [ "$code" != 0 ]; then
  aws ecs describe-tasks --cluster "bp-$stage" --tasks "$task" --query 'tasks[0].stoppedReason' --output text >&2
  echo "migrate: the migration ended with $code; its words are in /ecs/$service" >&2
  [[ $code =~ ^[0-9]+$ ]] || code=1
  exit "$code"
fi

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
payload=$(sed "s|/bp/staging/|/bp/$stage/|" events/tenant_pool_init_by_hand.json | tr -d '\n') # each stage has its own secret
error=$(aws lambda invoke --function-name "bp-$stage-tenant-pool-init" --cli-binary-format raw-in-base64-out \
  --payload "$payload" --query FunctionError --output text "$answer")
[ "$error" = None ] || { echo "migrate: tenant-pool-init failed: $(cat "$answer")" >&2; exit 1; }
echo "migrate: done; grants: $(cat "$answer")"
