# The PHP containers of the backend's task. The application comes from its own repository, as a named build context:
#   docker buildx build --file docker/backend/php.Dockerfile --build-context application=<its backend folder> \
#     --build-context certificates=layers/dependencies docker/backend
# The architecture is the builder's: ARM64 on an ARM64 machine or by buildx.
# hadolint global ignore=DL3022 # these are named contexts, not stages

FROM composer:2.8 AS composer

FROM php:8.3-fpm-bookworm AS vendor
COPY --from=composer /usr/bin/composer /usr/local/bin/composer
# hadolint ignore=DL3008 # versions are those of the base image's release, which gets security updates by being built anew
RUN apt-get update && apt-get install -y --no-install-recommends git unzip && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY --from=application composer.json composer.lock ./
RUN composer install --no-dev --no-interaction --no-scripts --no-autoloader --prefer-dist --ignore-platform-reqs
COPY --from=application . .
RUN composer dump-autoload --no-dev --optimize --no-scripts

FROM php:8.3-fpm-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libicu-dev libzip-dev libpng-dev libjpeg62-turbo-dev libwebp-dev \
 && docker-php-ext-configure gd --with-jpeg --with-webp \
 && docker-php-ext-install -j"$(nproc)" bcmath gd intl opcache pcntl pdo_mysql zip \
 && pecl install redis-6.1.0 && docker-php-ext-enable redis \
 && rm -rf /var/lib/apt/lists/* /tmp/pear

COPY php.ini /usr/local/etc/php/conf.d/zz-backend.ini
COPY php-fpm.conf /usr/local/etc/php-fpm.conf
COPY entrypoint.sh /usr/local/bin/entrypoint
# Amazon's authorities, for MYSQL_ATTR_SSL_CA.
COPY --from=certificates rds-ca-bundle.pem /etc/ssl/certs/rds-ca.pem

WORKDIR /var/www/html
COPY --from=vendor --chown=www-data:www-data /build ./
RUN chmod 755 /usr/local/bin/entrypoint \
 && install -d -o www-data -g www-data storage/app/public storage/framework/cache/data storage/framework/sessions \
      storage/framework/views storage/logs bootstrap/cache

# www-data, by number, so that a task may insist on a user that is not root.
USER 33:33
ENTRYPOINT ["entrypoint"]
CMD ["php-fpm", "--nodaemonize", "--fpm-config", "/usr/local/etc/php-fpm.conf"]
