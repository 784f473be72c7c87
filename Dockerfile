# Two stages: the first has a compiler, the second only what serves.
#   docker build -t ccproxy .
#   docker run -p 11434:11434 -e CCPROXY_AUTH_TOKENS=... -e OPENAI_API_KEY=... ccproxy
# The server listens on all addresses in here, so it asks for CCPROXY_AUTH_TOKENS (or CCPROXY_OPEN=1) before it starts.

FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/ requirements/
RUN pip install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
COPY pyproject.toml setup.py sanic_config.py README.md ./
COPY actors/ actors/
COPY ccproxy_sanic/ ccproxy_sanic/
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes cython

FROM python:3.13-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=11434 LOG_FILE_PATH= ERROR_LOG_FILE_PATH= ERROR_TRACKING_FILE=
WORKDIR /app
USER 10001:10001
EXPOSE 11434
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/health' % os.environ['PORT'], timeout=4)"]
CMD ["ccproxy", "serve"]
