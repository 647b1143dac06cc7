"""Optional packages: what only some configurations use is an extra of Headrace."""

from __future__ import annotations

from importlib.util import find_spec

# The extra of a package, by the name under which the package is imported.
_EXTRAS = {
    "adlfs": "azure",
    "botocore": "bedrock",
    "gcsfs": "gcs",
    "psycopg": "postgres",
    "redis": "redis",
    "s3fs": "s3",
    "sqlalchemy": "sql",
    "azure.identity": "entra",
    "google.auth": "vertex",
    "opentelemetry.exporter.otlp.proto.http": "telemetry",
}


def missing(package: str, user: str) -> str | None:
    """Return what to install if `package`, which `user` requires, is not installed; otherwise None."""
    try:
        found = find_spec(package)
    except ModuleNotFoundError:  # of a package that it lies in
        found = None
    return None if found else advice(package, user)


def advice(package: str, user: str) -> str:
    """Return the sentence that says what `user` requires and how to install it."""
    return (
        f"{user} requires the package {package}; install it on every node with: "
        f"pip install 'headrace[{_EXTRAS[package]}]'"
    )


def explained(error: ImportError, user: str) -> str:
    """Return `advice` if `error`, raised by a library, names the package of an extra; else its own text."""
    package = next((name for name in _EXTRAS if name in str(error)), None)
    return str(error) if package is None else advice(package, user)
