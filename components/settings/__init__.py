"""What a stack says: the schema of its keys, the checks across them, and the reader."""
