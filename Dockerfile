# The image of Kubernetes pods (kuberay/), for every kind of node:
#     docker build --tag registry.example.com/raymap:0.1.0 .
# Not built anywhere yet: tests/test_cluster_files.py checks what it copies, its variables and its versions.
FROM rayproject/ray:2.60.0-py311-gpu

COPY --chown=1000:100 pyproject.toml README.md LICENSE /opt/raymap/
COPY --chown=1000:100 raymap /opt/raymap/raymap
COPY --chown=1000:100 jobs /opt/raymap/jobs
COPY --chown=1000:100 serve /opt/raymap/serve
WORKDIR /opt/raymap

# Without constraints.txt, which pins a CPU build of torch. Once installed, the sources need not be there twice.
RUN pip install --no-cache-dir ".[sionna]" && rm -rf raymap build raymap.egg-info

# What Ray must know before it starts: raymap/runtime/cluster.py tells why. RAY_AUTH_MODE is the operator's.
ENV RAY_USAGE_STATS_ENABLED=0 \
    RAY_DATA_USE_DATASOURCE_V2=0 \
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=0.2 \
    RAY_TRAIN_ENABLE_PRINT_PATCH=0 \
    OMP_WAIT_POLICY=PASSIVE \
    GOMP_SPINCOUNT=0 \
    RAY_DATA_LOG_LEVEL=ERROR \
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_ENABLE_DIRECT_INGRESS=0 \
    RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH=2147483647 \
    RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE=1 \
    RAY_OVERRIDE_JOB_RUNTIME_ENV=1

# The user "ray" of the base image.
USER 1000:100
