# One image for the agent, the control plane and the queue's web page; the command decides:
#   easyalert-agent run (default) | easyalert-controlplane serve | python -I -m cli.dashboard_server
# It works with a read-only root file system, without capabilities, as uid 1000. State: /home/agent/.easyalert (agent),
# /var/lib/easyalert (control plane).

FROM debian:trixie-slim AS build
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv \
    && python3 -m venv /opt/easyalert
WORKDIR /src
# The dependencies first: they change rarely, the code often.
COPY requirements.lock ./
RUN /opt/easyalert/bin/pip install --disable-pip-version-check --quiet --no-cache-dir --no-input --require-hashes -r requirements.lock
COPY pyproject.toml README.md supervisord.conf ./
COPY easyalert/ easyalert/
COPY vault/ vault/
COPY poller/ poller/
COPY workers/ workers/
COPY heartbeat/ heartbeat/
COPY admin/ admin/
COPY cli/ cli/
COPY controlplane/ controlplane/
RUN /opt/easyalert/bin/pip install --disable-pip-version-check --quiet --no-cache-dir --no-input --no-deps --no-build-isolation . \
    && /opt/easyalert/bin/python -m compileall -q /opt/easyalert/lib

FROM debian:trixie-slim
# bash and python3 run the scripts of jobs; valkey-server is the agent's own queue unless REDIS_URL names another.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        bash ca-certificates procps python3 valkey-server \
    && rm -rf /var/lib/apt/lists/* /var/log/* \
    && useradd --uid 1000 --user-group --create-home --home-dir /home/agent --shell /usr/sbin/nologin agent \
    && install -d -m 0700 -o agent -g agent /home/agent/.easyalert /var/lib/easyalert /run/easyalert
COPY --from=build /opt/easyalert /opt/easyalert
ENV PATH=/opt/easyalert/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIR=/home/agent/.easyalert \
    EASYALERT_CP_DATA_DIR=/var/lib/easyalert
USER 1000:1000
WORKDIR /home/agent
VOLUME ["/home/agent/.easyalert"]
# The agent touches this file after every heartbeat the control plane has answered.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD test -n "$(find "$STATE_DIR/.agent_heartbeat" -mmin -1 2>/dev/null)"
CMD ["easyalert-agent", "run"]
