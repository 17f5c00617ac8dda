import subprocess
import sys


def test_importing_the_client_imports_no_other_package() -> None:
    heavy = "torch numpy sqlalchemy fastapi starlette pydantic httpx celery"
    script = f"import sys, graftwork; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_client_costs_nothing() -> None:
    """What has not been asked for is not imported; CPU seconds, since others may keep the machine busy."""
    script = "import time; begun = time.process_time(); import graftwork; print(time.process_time() - begun)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.25


def test_the_client_is_loaded_without_the_server_pandas_or_numpy() -> None:
    heavy = "torch numpy pandas pyarrow sqlalchemy fastapi starlette celery"
    script = (
        "import sys; from graftwork import AsyncGraftwork, Graftwork, Predictions, answers, requests; "
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
