# nginx of the backend's task, with the application's public files: php-fpm's are in another container.
#   docker buildx build --file docker/backend/nginx.Dockerfile --build-context application=<its backend folder> docker/backend
# hadolint global ignore=DL3022 # a named context, not a stage

FROM nginx:1.28-bookworm
COPY nginx.conf /etc/nginx/nginx.conf
COPY --from=application public /var/www/html/public
RUN nginx -t
# localhost may be ::1, where nothing listens.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1/up"]
