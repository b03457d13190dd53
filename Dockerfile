# syntax=docker/dockerfile:1

# docker build -t cloudserver .
# docker run -p 8000:8000 -v "$PWD/data:/usr/src/app/localData" -v "$PWD/metadata:/usr/src/app/localMetadata" cloudserver

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends clang libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# RocksDB is compiled once for each of its versions: the cache mount outlives changes of our own code.
RUN --mount=type=cache,target=/cache --mount=type=cache,target=/usr/local/cargo/registry \
    export CLOUDSERVER_CACHE=/cache \
    && ROCKSDB_LIB_DIR="$(.ci/rocksdb)" \
    && export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1 \
    && cargo build --release --locked --bin cloudserver --target-dir /cache/target \
    && cp /cache/target/release/cloudserver /build/cloudserver

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 cloudserver \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /usr/src/app cloudserver \
    && mkdir -p /usr/src/app/localData /usr/src/app/localMetadata \
    && chown -R cloudserver:cloudserver /usr/src/app
COPY --from=build /build/cloudserver /usr/local/bin/cloudserver
COPY --chown=cloudserver:cloudserver config.json locationConfig.json /usr/src/app/
COPY --chown=cloudserver:cloudserver conf /usr/src/app/conf

# The server never runs as root. Only this script does, to hand over bind-mounted folders that Docker made for root;
# it is skipped with `docker run --user`.
COPY --chmod=755 deploy/docker/entrypoint /usr/local/bin/entrypoint

WORKDIR /usr/src/app
# Published ports are published on purpose: in a container the shipped accounts do not mean loopback only.
ENV CLOUDSERVER_CONTAINER=1
VOLUME ["/usr/src/app/localData", "/usr/src/app/localMetadata"]
# S3; health and metrics; in the role `data` and `metadata` those protocols.
EXPOSE 8000 8002 9991 9990
# The binary asks itself, plain or over TLS as it is configured. A server that waits for another owner of its folders is
# well: it must not be restarted for that.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 CMD ["cloudserver", "health"]
# As `docker stop` does; a little longer than the server's own 30 seconds would be --time 40.
STOPSIGNAL SIGTERM
ENTRYPOINT ["entrypoint"]
