# syntax=docker/dockerfile:1
# The image is the program and nothing else: no shell, no package, nothing to patch but keymux itself.
#
#   docker build -t keymux .
#   docker run -p 8787:8787 -v ./keymux:/etc/keymux:ro keymux
#
# Mount the directory that holds keymux.toml, never the single file: a mounted file is bound to one inode, so when an
# editor or a deployment replaces it, the container goes on seeing the old one.
# In that file, [server] listen = "0.0.0.0:8787" makes the published port reach keymux; it then asks for [[clients]].

ARG RUST_VERSION=1.95

# Alpine's Rust links musl statically.
FROM rust:${RUST_VERSION}-alpine AS build
# For the C parts of aws-lc.
RUN apk add --no-cache build-base linux-headers
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# Cargo.toml names the benchmarks too, and cargo wants to see every target it is told of.
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin keymux && cp target/release/keymux /keymux

FROM scratch
COPY --from=build /keymux /keymux
# A number, because there is no /etc/passwd; Kubernetes' runAsNonRoot can only check numbers anyway.
USER 65532:65532
# No CA certificates are copied: where the system has none, keymux uses the set built into it. A company's own CA is
# `ca_file`.
EXPOSE 8787
# Asks /readyz on the admin listener of the same configuration, so the admin port need not be published.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/keymux", "healthcheck"]
# SIGTERM, the default, drains: give `docker stop` as long as server.drain_timeout (-t 130).
ENTRYPOINT ["/keymux"]
CMD ["run", "--config", "/etc/keymux/keymux.toml"]
