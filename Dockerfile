# hilum as an image: a virtual environment built in one stage, copied into a bare Python without compilers or root.
#
#   docker build -t hilum .
#   docker run -p 11112:11112 -v hilum:/var/lib/hilum -v ./hilum.toml:/etc/hilum/hilum.toml:ro hilum
#
# torch: PyPI's wheel for Linux brings CUDA and some gigabytes; the index below has the build for processors alone. For a
# GPU, or where that index cannot be reached: --build-arg TORCH_INDEX=https://pypi.org/simple

FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/hilum
# torch first: the largest layer, which a change of the code leaves as it is
RUN /opt/hilum/bin/pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple torch==2.13.0
WORKDIR /src
COPY pyproject.toml README.md ./
COPY config config
COPY storage storage
COPY dicom_io dicom_io
COPY inference inference
COPY daemon daemon
RUN /opt/hilum/bin/pip install .

FROM python:3.12-slim
RUN groupadd --system --gid 10001 hilum \
 && useradd --system --uid 10001 --gid hilum --home-dir /var/lib/hilum --shell /usr/sbin/nologin hilum \
 && install -d -o hilum -g hilum -m 0750 /var/lib/hilum \
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
