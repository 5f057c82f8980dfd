# Contains only the operator and its dependencies. It needs no shell and no writable file system.
#   docker build -t image-share-operator .
#   docker build --build-arg BASE=REGISTRY/python@sha256:… --build-arg REVISION="$(git rev-parse HEAD)" .
# Any base image with python3 >= 3.11 works. Both stages must use the same base image, because the
# virtualenv links to its interpreter.
# For a private package index, add: --secret id=pip.conf,src=$HOME/.config/pip/pip.conf
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/image-share-operator
COPY hack/image/requirements-build.lock requirements.lock ./
# Only wheels are installed, so that no architecture needs a compiler. The last stage compiles the
# bytecode.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/build/bin/pip install --no-compile --only-binary :all: --require-hashes -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/image-share-operator/bin/python install \
       --no-compile --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
    && /opt/build/bin/pip --python /opt/image-share-operator/bin/python install \
       --no-compile --no-deps --no-index /dist/*.whl

FROM ${BASE}
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="image-share-operator" \
      org.opencontainers.image.description="Accepts or rejects Open Telekom Cloud image shares" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/image-share-operator /opt/image-share-operator
# Compile the bytecode of all imported modules, also those of the base image: the file system is
# read-only at run time. Remove pip and its bundled wheels from the base image, because the operator
# does not use them.
RUN /opt/image-share-operator/bin/python -m compileall -q \
       /opt/image-share-operator/lib/python3*/site-packages/image_share_operator \
    && /opt/image-share-operator/bin/python -c "import encodings.utf_8_sig, image_share_operator.process, \
image_share_operator.cli.commands, opentelemetry.sdk.trace.export, \
opentelemetry.exporter.otlp.proto.http.trace_exporter" \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
       /usr/local/lib/python3*/site-packages/pip /usr/local/lib/python3*/site-packages/pip-* \
       /usr/lib/python3*/ensurepip /usr/share/python-wheels
ENV PATH=/opt/image-share-operator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
USER 65532:65532
# PID 1 gets no signal that it does not handle. Python handles none before its imports, so an init
# process forwards them: a pod ends at once, also when it has just started.
ENTRYPOINT ["dumb-init", "--single-child", "--", "image-share-operator"]
