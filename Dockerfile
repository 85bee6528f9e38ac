# The operator image: the operator, and what it needs of Debian. Each platform is built by a builder
# of that platform, native or emulated:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/transship:VERSION \
#     --build-arg VERSION=VERSION --build-arg REVISION="$(git rev-parse HEAD)" .
#
# The end-to-end tests make the same image without a container builder, with e2e/images/operator.

FROM rust:1.95-bookworm AS build
WORKDIR /source
# Not rust-toolchain.toml: the image has the toolchain, and the linters it asks for are not needed.
COPY Cargo.toml Cargo.lock ./
COPY src src
# It is a part of the program.
COPY charts/transship/files/seccomp charts/transship/files/seccomp
# Pages of 64 KiB and less, as arm64 may have them: see docs/adr/0023-memory.md.
ENV JEMALLOC_SYS_WITH_LG_PAGE=16
RUN cargo build --release --locked --bin transship

FROM debian:12-slim AS packages
COPY image /image
RUN /image/root-filesystem "$(dpkg --print-architecture)" /root-filesystem

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="Transship" \
      org.opencontainers.image.description="Kubernetes operator that mirrors OCI images between registries" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=packages /root-filesystem/ /
COPY --from=build /source/target/release/transship /usr/bin/transship
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/transship"]
