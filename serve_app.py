"""The HTTP API on Ray Serve: ``serve run serve_app:app``, or ``serve deploy configs/serve.yaml``.

A replica holds no state: tasks are in named actors that outlive it, and in their store.
"""

# No postponed annotations in this file: Serve creates `Arguments` only if the annotation is the class itself,
# and passes a plain dictionary if it is the name of the class.

from ray.serve import Application

from cluster.http.serving import Arguments, application


def app(arguments: Arguments) -> Application:
    """Return the application, for Serve to run."""
    return application(arguments)
