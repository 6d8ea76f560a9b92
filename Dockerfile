# One image for every process; which role it plays is its argument: docker run leaver:local entra
FROM python:3.13.7-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/leaver
ENV PATH=/opt/leaver/bin:$PATH
# The locked packages first: this layer is rebuilt only when the lock changes.
COPY requirements/runtime.lock /src/requirements/runtime.lock
RUN pip install --quiet --require-hashes --no-deps --requirement /src/requirements/runtime.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY leaver /src/leaver
COPY workflows /src/workflows
COPY activities /src/activities
COPY workers /src/workers
RUN pip install --quiet --no-deps --no-build-isolation /src

FROM python:3.13.7-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin leaver \
    && install -d -o leaver -g leaver /var/lib/leaver /var/lib/leaver-signed
COPY --from=build /opt/leaver /opt/leaver
ENV PATH=/opt/leaver/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/leaver
USER leaver
VOLUME /var/lib/leaver /var/lib/leaver-signed
ENTRYPOINT ["python", "-m", "workers"]
CMD ["--help"]
