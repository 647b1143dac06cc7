"""The configuration: its keys, how a file is read, and what is wrong with one."""
