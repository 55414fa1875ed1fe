import pytest

from pellucid.serve import recipe, training
from pellucid.serve.store import Store
from tests import serving


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder of state with the model that fails on demand, and a loan model of one candidate."""
    home = tmp_path_factory.mktemp("state")
    store = Store(str(home / "pellucid" / "models"))
    serving.register_faulty(store.root)
    loan = recipe.named("loan")._replace(grid={"forest__n_estimators": [5]})
    training.train(loan, store, lambda progress: None, jobs=1)
    return home
