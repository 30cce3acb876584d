"""The components: one ComponentResource a file, and the pure modules they share."""
