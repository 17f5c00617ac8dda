import subprocess
import sys


def test_the_client_needs_neither_torch_nor_sql_nor_the_server() -> None:
    heavy = "torch numpy sqlalchemy fastapi starlette pydantic celery"
    script = f"import sys, app.client; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
