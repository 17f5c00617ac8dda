# One image for every part: api, worker, migrate. torch brings its CUDA build here; the CPU is used where there is no GPU.
FROM python:3.11-slim

ARG TORCH="torch==2.13.0"

RUN useradd --create-home --uid 1000 graftwork \
 && mkdir /data \
 && chown graftwork /data
WORKDIR /srv
COPY requirements.lock ./
# torch comes first and by its exact version, so that nothing later pulls another build in.
RUN pip install --no-cache-dir ${TORCH} \
 && pip install --no-cache-dir -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY app app
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps -e clients/python -e .

USER graftwork
ENV GRAFTWORK_DATA=/data
VOLUME /data
EXPOSE 8000
CMD ["graftwork", "up", "--host", "0.0.0.0"]
