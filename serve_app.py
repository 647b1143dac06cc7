"""The HTTP door on Ray Serve: ``serve run serve_app:app``, or ``serve deploy configs/serve.yaml``.

A replica holds nothing that matters: tasks live in named actors that outlive it, and in their store.
"""

# No postponed annotations in this file: Serve makes `Arguments` of what it is given only where the annotation
# is the class itself, and hands over a plain dictionary where it is the class's name.

from ray.serve import Application

from cluster.http.serving import Arguments, application


def app(arguments: Arguments) -> Application:
    """Return the application, for Serve to run."""
    return application(arguments)
