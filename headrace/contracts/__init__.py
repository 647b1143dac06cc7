"""The contracts of plug-ins as tests, which `headrace.testing` offers."""
