"""The rules of the journal: the rows that each record writes, and the reply once they are durable."""
