"""What lives on Google Cloud: registry, cluster, network, node pools and their identities."""
