# The workers and the command line; `docker compose up` runs them with a Kafka and a Redis.
FROM python:3.11-slim
WORKDIR /app
# Every package by version and hash, as `make locks` has written them.
COPY requirements/run.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index .
# No root: and the folders belong to the user, so that volumes over them do too.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin guard \
 && install -d -o guard -g guard -m 0700 /guard /kms /people /sources /state /work
USER guard
WORKDIR /work
ENV CALLLOG_GUARD_POLICY=/guard/policy.toml \
    CALLLOG_GUARD_OPERATOR_KEY=/guard/keys/operator-1.pub.pem \
    CALLLOG_GUARD_KMS=local:/kms \
    CALLLOG_GUARD_INGEST=/sources/ingest.toml \
    CALLLOG_GUARD_STATE_DIR=/state \
    CALLLOG_GUARD_HTTP=0.0.0.0:6066
EXPOSE 6066
ENTRYPOINT ["calllog-guard"]
