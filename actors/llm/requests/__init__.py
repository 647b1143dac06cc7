"""What is sent beside the body that a dialect makes: heads of requests, and files."""
