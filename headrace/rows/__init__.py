"""The rows and columns of a call: tables in and out, files, and names of columns. For `headrace` alone."""
