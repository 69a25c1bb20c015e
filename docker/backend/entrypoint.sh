#!/bin/sh
# /bin/sh is not bash here. Makes what Laravel needs before any command of the task: FPM, scheduler, queue worker, migration.
set -eu
cd /var/www/html

for folder in storage/app/public storage/framework/cache/data storage/framework/sessions storage/framework/views storage/logs bootstrap/cache; do
  mkdir -p "$folder"
done
# With the task's environment, which is not known when the image is built.
php artisan config:cache
php artisan route:cache
php artisan view:cache

exec "$@"
