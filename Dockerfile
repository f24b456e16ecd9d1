# cxr-infer with DICOM, on a CPU. Build it, then denoise ./xrays into ./out; nothing leaves the container:
#
#   docker build -t cxr-infer .
#   mkdir -p out && docker run --rm --network none --read-only --tmpfs /tmp --user "$(id -u):$(id -g)" \
#     -v "$PWD/xrays:/xrays:ro" -v "$PWD/out:/out" cxr-infer dir /xrays --out /out
#
# Limit its memory and CPUs for files that you do not trust: --memory 2g --cpus 4.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY cxr_infer cxr_infer
COPY train/cxr_train train/cxr_train
COPY export/cxr_export export/cxr_export
COPY weights weights
COPY docs/cxr-infer.1 docs/cxr-infer.1
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY constraints.txt /tmp/
RUN --mount=from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /wheels/*.whl)[dicom]" && rm /tmp/constraints.txt
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
WORKDIR /tmp
ENTRYPOINT ["cxr-infer"]
CMD ["--help"]
