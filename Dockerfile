# syntax=docker/dockerfile:1
# The image contains only the program: no shell, no package, nothing to patch but keymux itself.
#
#   docker build -t keymux .
#   docker run -p 8787:8787 -v ./keymux:/etc/keymux:ro keymux
#
# Mount the directory that contains keymux.toml, never the single file: a mounted file is bound to one inode, so when an
# editor or a deployment replaces it, the container keeps the old one.
# In that file, [server] listen = "0.0.0.0:8787" makes keymux reachable through the published port, and [[clients]] are then
# required. See docs/install.md.

ARG RUST_VERSION=1.95

# Alpine's Rust links musl statically.
FROM rust:${RUST_VERSION}-alpine AS build
# aws-lc is partly written in C.
RUN apk add --no-cache build-base linux-headers
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# Cargo.toml names the benchmarks, and cargo requires the files of every target.
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin keymux && cp target/release/keymux /keymux

FROM scratch
COPY --from=build /keymux /keymux
# A number, because there is no /etc/passwd, and Kubernetes' runAsNonRoot can check only numbers.
USER 65532:65532
# No CA certificates are copied: without those of a system keymux uses its built-in set. For a private CA set `ca_file`.
EXPOSE 8787
# Requests /readyz from the admin listener of the same configuration, so the admin port need not be published.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/keymux", "healthcheck"]
# SIGTERM, the default, drains: `docker stop` must wait longer than server.drain_timeout (-t 130).
ENTRYPOINT ["/keymux"]
CMD ["run", "--config", "/etc/keymux/keymux.toml"]
