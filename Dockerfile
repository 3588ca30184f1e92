# The gate in a container, for the CPU:  docker build -t medsam-core .
# For CUDA:                              docker build -t medsam-core:cuda --build-arg DEVICE=cuda .
# docs/ci.md says how to run it.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS build
ARG DEVICE=cpu
ARG EXTRAS=suite,http,formats
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY medsam_core medsam_core
COPY fixtures fixtures
COPY benchmarks/gates benchmarks/gates
COPY benchmarks/baselines benchmarks/baselines
# PyPI's torch on Linux brings CUDA; a wheel of PyTorch's CPU index (2.13.0+cpu) is preferred to it where both are seen.
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt SAM2_BUILD_CUDA=0 PIP_NO_CACHE_DIR=1
RUN case "$DEVICE" in \
      cpu) export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu ;; \
      cuda) ;; \
      *) echo "DEVICE is $DEVICE, expected cpu or cuda" >&2; exit 1 ;; \
    esac \
 && python -m venv /opt/medsam-core \
 && /opt/medsam-core/bin/python -m pip install ".[$EXTRAS]"

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/medsam-core /opt/medsam-core
# HOME is where checkpoints are downloaded to and phantoms are kept; any user may write there, so that --user works.
RUN useradd --uid 10001 --create-home --home-dir /home/gate gate \
 && mkdir /work \
 && chown gate /work \
 && chmod 1777 /work /home/gate
ENV PATH=/opt/medsam-core/bin:$PATH HOME=/home/gate LOGNAME=gate \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /work
# No HEALTHCHECK, on purpose: the container is a command that ends with an exit code, not a service.
ENTRYPOINT ["medsam-core"]
CMD ["run"]
