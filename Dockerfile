# tollgate in Debian slim: built in one stage, run in another, not as root.
FROM debian:bookworm-slim AS build
COPY tests/deps.sh /src/tests/deps.sh
RUN sh /src/tests/deps.sh build && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN make -C /src release build/release/provider

# The simulated provider, for trying it out: docker-compose --profile simulated up.
FROM debian:bookworm-slim AS provider
RUN apt-get update \
    && apt-get install -y --no-install-recommends libevent-2.1-7 libevent-openssl-2.1-7 libnghttp2-14 libssl3 libcjson1 \
       libbrotli1 libzstd1 libxxhash0 zlib1g libhiredis0.14 libsqlite3-0 libglib2.0-0 libcurl4 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home provider
COPY --from=build /src/build/release/provider /usr/bin/provider
USER provider
ENTRYPOINT ["/usr/bin/provider"]

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libevent-2.1-7 libevent-openssl-2.1-7 libnghttp2-14 \
       libssl3 libcjson1 libbrotli1 libzstd1 libxxhash0 zlib1g libhiredis0.14 libsqlite3-0 \
       libglib2.0-0 libcurl4 ca-certificates curl \
       $([ "$(dpkg --print-architecture)" != amd64 ] || echo libipsec-mb1) \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home tollgate \
    && install -d -o tollgate -g tollgate -m 0750 /var/lib/tollgate
COPY --from=build /src/build/release/tollgate /usr/bin/tollgate
COPY --from=build /src/pricing/book /usr/share/tollgate/book
COPY --from=build /src/LICENSE /usr/share/doc/tollgate/LICENSE
USER tollgate
WORKDIR /etc/tollgate
VOLUME /var/lib/tollgate
EXPOSE 8443 9443
# The gateway's own certificate is made for the names that apps use, not for localhost.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD curl -fsk https://127.0.0.1:9443/readyz || exit 1
ENTRYPOINT ["/usr/bin/tollgate"]
CMD ["serve", "-c", "/etc/tollgate/tollgate.json"]
