from tests.watch.conftest import alone, api, cluster

__all__ = ["alone", "api", "cluster"]
