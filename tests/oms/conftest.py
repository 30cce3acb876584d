from tests.modelimage.conftest import model, own_cache
from tests.offline.conftest import project
from tests.watch.conftest import alone, api, cluster

__all__ = ["alone", "api", "cluster", "model", "own_cache", "project"]
