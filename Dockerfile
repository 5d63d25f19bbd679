# syntax=docker/dockerfile:1
# The hub with the packages of requirements.txt. A separate stage installs them, so that neither pip's files nor a
# compiler are in the final image.
FROM python:3.11-slim-bookworm AS packages
COPY requirements.txt .
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir -r requirements.txt

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hub
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/hub
# Owned by root: the hub can read its own code but not change it. .dockerignore lists what is copied.
COPY . .
# A number: Kubernetes checks runAsNonRoot without reading /etc/passwd.
USER 10001
EXPOSE 8000
# urlopen raises for anything but success, and Python then ends with 1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/api/v2/notification-service/health', timeout=4)"]
STOPSIGNAL SIGTERM
# Without a shell, so that SIGTERM reaches the hub and it closes its connections with 1012.
CMD ["python", "run.py"]
