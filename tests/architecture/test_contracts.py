"""The import contracts of pyproject.toml hold, and each of them fails where an import breaks it.

The graph of imports is built once; a broken architecture is that graph with one import more.
"""

from copy import deepcopy
from pathlib import Path

import grimp
import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

ROOT = Path(__file__).parents[2]
configure()
OPTIONS = read_user_options(str(ROOT / "pyproject.toml"))
CONTRACTS = {options["name"]: options for options in OPTIONS.contracts_options}
TYPES: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "protected": ProtectedContract,
}

# By contract: an import, (importer, imported), that breaks it.
OFFENCES = {
    "the service never imports the workers": ("app.jobs.service", "worker.process.supervisor"),
    "learning and serving are pure: no HTTP, no SQL, no broker": ("worker.training.loop", "sqlalchemy"),
    "readers and descriptions of data need no torch": ("app.datasets.readers.csv", "torch"),
    "searching is done in trainers alone": ("app.sweeps.config", "optuna"),
    "the kit knows no domain": ("app.kit.pages", "app.jobs.states"),
    "the client speaks HTTP and knows nothing of the service": ("graftwork.retries", "app.jobs.states"),
    "the service does not ask itself: only its command knows the client": ("app.jobs.service", "graftwork.retries"),
    "the page is files: it asks the API as everybody does": ("app.web.pages", "app.jobs.service"),
    "endpoints ask services: they know no SQL and no repository": ("app.models.endpoints", "app.models.repository"),
    "services know no endpoint": ("app.models.service", "app.models.endpoints"),
    "repositories know no service and no endpoint": ("app.models.repository", "app.models.service"),
    "tables are known to repositories and the lease protocol alone": ("app.models.service", "app.db.tables"),
    "no import circle between rooms": ("app.ml.solvers.ridge", "app.ml.models.bundle"),
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("app", "worker", "graftwork", include_external_packages=True, cache_dir=None)


def contract_of(name: str) -> Contract:
    contract_class = TYPES[CONTRACTS[name]["type"]]
    return contract_class(name=name, session_options=OPTIONS.session_options, contract_options=CONTRACTS[name])


def test_every_contract_has_an_offence() -> None:
    assert set(OFFENCES) == set(CONTRACTS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_holds_and_fails_when_an_import_breaks_it(name: str, graph: grimp.ImportGraph) -> None:
    importer, imported = OFFENCES[name]
    contract = contract_of(name)
    assert contract.check(deepcopy(graph), verbose=False).kept
    assert {importer, imported} <= graph.modules
    broken = deepcopy(graph)
    broken.add_import(importer=importer, imported=imported)
    assert not contract.check(broken, verbose=False).kept


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Strongly connected modules of Tarjan's algorithm: each must be a module alone, but for what types alone need."""
    graph = grimp.build_graph("app", "worker", "graftwork", exclude_type_checking_imports=True, cache_dir=None)
    modules = [module for module in graph.modules if module.startswith(("app", "worker", "graftwork"))]
    circles = [
        sorted({module, other})
        for module in modules
        for other in graph.find_modules_directly_imported_by(module)
        if other in graph.modules and graph.chain_exists(importer=other, imported=module)
    ]
    assert not circles, circles
