"""A Python file of the user's own, as a module: a study, a method, a model that is not in the package."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["own_file"]


def own_file(reference: str, kind: str) -> ModuleType:
    """The module in a file; loaded once, and found again in worker processes, so that its classes can be sent.

    Args:
        reference: The file's path.
        kind: What it should hold, for the sentence if there is no such file.

    Returns:
        The module. It may import the files beside it.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    path = Path(reference).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"The {kind} must be a name or a Python file, got {reference}: no such file.")
    name = f"lowland_own_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    return sys.modules.get(name) or _execute(name, path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} must be a Python file.")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
