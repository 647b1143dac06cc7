"""The run of `map`: its question, its job, the earlier runs of the job, and the run itself."""
