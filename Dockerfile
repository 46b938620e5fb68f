# The workers and the command line; `docker compose up` runs them with a Kafka and a Redis.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md ./
COPY src ./src
RUN pip install --no-cache-dir ".[aws,vault]"
USER nobody
ENTRYPOINT ["calllog-guard"]
