"""What the cluster says: its API, the pods, why they do not run, and whether a rollout is done."""
