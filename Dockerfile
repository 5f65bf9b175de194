# The controller, without the fleet model (`forebay demo`, `simulate` and `compare` need it, the controller does not).
#   docker build --tag forebay:0.1.0 .
# deploy/base runs it as the user below, on a read-only root.
FROM python:3.11-slim-bookworm AS build
COPY requirements/run.txt /
# Without pip in it: nothing is installed once it runs. Wheels alone, so that nothing of the packages runs here either.
RUN ["python", "-m", "venv", "--without-pip", "/opt/forebay"]
RUN ["python", "-m", "pip", "--python", "/opt/forebay", "install", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:", "--requirement", "/run.txt"]
COPY scaler /opt/forebay/lib/python3.11/site-packages/scaler
# The root is read-only later, and then nobody keeps what is compiled.
RUN ["python", "-m", "compileall", "-q", "/opt/forebay/lib/python3.11/site-packages/scaler"]

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Forebay" org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /opt/forebay/
COPY --from=build /opt/forebay /opt/forebay
# The user has no home, and the Kubernetes client asks for one.
ENV PATH=/opt/forebay/bin:$PATH HOME=/
USER 65532:65532
EXPOSE 8081 9443
ENTRYPOINT ["python", "-m", "scaler"]
CMD ["--help"]
