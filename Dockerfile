# The code server: Dagster's web server and daemon reach it over gRPC, and the runs they launch happen in it.
# Servers are yours: give MORPH_DATABASE_URL, MORPH_REDIS_URL, MORPH_STORE_URL, MORPH_TRUST_FILE and what
# dagster_home/production/dagster.yaml names. Builds and evaluations run in bubblewrap: allow user namespaces.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY pyproject.toml constraints.txt README.md CHANGELOG.md ./
# A package index for torch alone: --build-arg TORCH_INDEX=<url> chooses a CPU or a CUDA build.
ARG TORCH_INDEX=
RUN python -m venv .venv
RUN .venv/bin/pip install --quiet --disable-pip-version-check ${TORCH_INDEX:+--index-url $TORCH_INDEX} torch==2.13.0
RUN .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt "pip>=25.1"
COPY kernels kernels
COPY sensors sensors
COPY morph_assets morph_assets
RUN .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt ".[platform]"
COPY dagster_home/production dagster_home/production

# Caches, precompiled headers and signing keys stay on a volume; the image holds no secret.
RUN useradd --uid 10001 --create-home morph \
    && install --directory --owner=morph --mode=0700 /var/lib/morph \
    && chown -R morph dagster_home
VOLUME /var/lib/morph
USER morph
ENV PATH=/app/.venv/bin:$PATH MORPH_HOME=/var/lib/morph DAGSTER_HOME=/app/dagster_home/production

EXPOSE 4000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "api", "grpc", "-m", "morph_assets.definitions", "-h", "0.0.0.0", "-p", "4000", "--location-name", "morph"]
