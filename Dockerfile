# The container image: one program that runs as an unprivileged user, with two volumes.
#
#   docker build -t firman .
#   docker run --read-only -p 8080:8080 -e FIRMAN_ISSUER_URL=https://id.example.com \
#     -v firman-data:/var/lib/firman -v firman-keys:/etc/firman/keys --name firman firman
#   docker exec firman firman agent add mailer --owner team-mail --secret
#
# FIRMAN_ISSUER_URL is the URL that relying parties use. A TLS proxy in front forwards it to port 8080.
# The admin API listens inside the container only. Use it with `docker exec`.

ARG BUILDER_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin firman

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="firman" \
      org.opencontainers.image.description="Identity provider for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
# ca-certificates: root certificates for what the commands fetch over https.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 firman \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/firman \
       --shell /usr/sbin/nologin firman \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/firman /etc/firman/keys
COPY --from=builder /build/target/release/firman /usr/local/bin/firman

ENV FIRMAN_DATA_DIR=/var/lib/firman \
    FIRMAN_KEYS_DIR=/etc/firman/keys \
    FIRMAN_LISTEN=0.0.0.0:8080 \
    FIRMAN_ADMIN_LISTEN=127.0.0.1:8081
# Numeric, so that an orchestrator can check that the user is not root.
USER 10001:10001
WORKDIR /var/lib/firman
# Two volumes: anyone who has a backup with both the database and the key can mint tokens.
VOLUME ["/var/lib/firman", "/etc/firman/keys"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["firman", "healthcheck"]
ENTRYPOINT ["firman"]
CMD ["serve"]
