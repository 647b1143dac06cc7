"""The command line: ``python driver.py --help``."""

from cluster.commands.main import app, main

__all__ = ["app"]

if __name__ == "__main__":
    main()
