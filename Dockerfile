# hilum as an image: a virtual environment built in one stage, copied into a bare Python without compilers or root.
#
#   docker build -t hilum .
#   docker run -p 11112:11112 -v hilum:/var/lib/hilum -v ./hilum.toml:/etc/hilum/hilum.toml:ro hilum
#
# Every package is the exact file whose hash stands in the lock (make lock), or the build fails. The lock for processors
# takes torch from PyTorch's own place; PyPI's wheel brings CUDA and some gigabytes. For a GPU, or where that place cannot
# be reached: --build-arg LOCK=requirements-gpu.lock

FROM python:3.11-slim AS build
ARG LOCK=requirements-cpu.lock
ARG TORCH_WHEELS=https://download.pytorch.org/whl/cpu/torch/
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:
RUN python -m venv /opt/hilum
WORKDIR /src
COPY packaging/requirements-cpu.lock packaging/requirements-gpu.lock ./
# the libraries first: the largest layer, which a change of the code leaves as it is
RUN /opt/hilum/bin/pip install --no-deps --require-hashes --find-links "$TORCH_WHEELS" --requirement "$LOCK"
COPY pyproject.toml README.md ./
COPY config config
COPY storage storage
COPY dicom_io dicom_io
COPY inference inference
COPY daemon daemon
RUN /opt/hilum/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN groupadd --system --gid 10001 hilum \
 && useradd --system --uid 10001 --gid hilum --home-dir /var/lib/hilum --shell /usr/sbin/nologin hilum \
 && install -d -o hilum -g hilum -m 0700 /var/lib/hilum \
 && install -d /etc/hilum \
 && touch /etc/hilum/hilum.toml
COPY --from=build /opt/hilum /opt/hilum
ENV PATH=/opt/hilum/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HILUM_CONFIG=/etc/hilum/hilum.toml
USER hilum
WORKDIR /var/lib/hilum
# spool, SQLite database
VOLUME ["/var/lib/hilum"]
# DICOM; HTTP, which answers inside the container alone unless http.host says otherwise
EXPOSE 11112 8080
STOPSIGNAL SIGTERM
# The daemon reaps its own children, so that no init is needed around it.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=8)"]
ENTRYPOINT ["hilum"]
CMD ["serve"]
