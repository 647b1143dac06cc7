"""What a job will cost and take: counted from its prompts, and measured on a random sample of its rows."""
