"""Other libraries' Hessians and Gauss-Newton matrices, each behind one call; those not installed are left out."""

import importlib
import warnings

from scipy.sparse.linalg import eigsh
from torch import nn

__all__ = ["estimates", "operators"]


def operators(model, x, y, v) -> dict:
    """For each operator of a peer, a function that sets it up and gives one that multiplies it with ``v``."""
    given = model, nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)]
    parts = _split(v, model)

    def hessian(library):
        A = library.HessianLinearOperator(*given)
        return lambda: A @ v

    def gauss_newton(library):
        A = library.GGNLinearOperator(*given)
        return lambda: A @ v

    def py(library):
        A = _py(library, model, x, y)
        multiply = importlib.import_module("pyhessian.utils").hessian_vector_product
        return lambda: multiply(A.gradsH, A.params, parts)

    def things(library):
        A = _things(library, model, x, y)
        return lambda: A.matvec(v)

    return _installed(
        {
            "curvlinops H": ("curvlinops", hessian),
            "PyHessian H": ("pyhessian", py),
            "eigenthings H": ("hessian_eigenthings", things),
            "curvlinops G": ("curvlinops", gauss_newton),
        }
    )


def estimates(model, x, y, probes, tol) -> dict:
    """For each estimate of a peer, a function that sets everything up and gives the estimate."""
    given = model, nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)]

    def top_5(library):
        A = library.HessianLinearOperator(*given)
        return eigsh(A.to_scipy(), k=5, which="LA", tol=tol, return_eigenvectors=False)

    def power(library):
        return _py(library, model, x, y).eigenvalues(top_n=5, tol=tol)[0]

    def lanczos(library):
        A = _things(library, model, x, y)
        return library.lanczos(A, k=5, tol=tol, which="LA", max_iter=50, seed=0).eigenvalues.tolist()

    def together(library):
        return library.hutchinson_trace(library.HessianLinearOperator(*given), probes)

    def one_by_one(library):
        return library.hutchinson(_things(library, model, x, y), num_samples=probes, seed=0).estimate

    return _installed(
        {
            "top-5: curvlinops, SciPy's eigsh": ("curvlinops", top_5),
            "top-5: PyHessian": ("pyhessian", power),
            "top-5: eigenthings, max_iter=50": ("hessian_eigenthings", lanczos),
            "trace: curvlinops": ("curvlinops", together),
            "trace: eigenthings": ("hessian_eigenthings", one_by_one),
        }
    )


def _installed(arms) -> dict:
    found = {name: (_imported(library), use) for name, (library, use) in arms.items()}
    return {name: lambda use=use, it=it: use(it) for name, (it, use) in found.items() if it is not None}


def _imported(library):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(library)
        except ImportError:
            return None


def _py(library, model, x, y):
    A = library.hessian(model, nn.CrossEntropyLoss(), (x, y), cuda=x.is_cuda)
    model.zero_grad()  # it fills .grad, with a graph
    return A


def _things(library, model, x, y):
    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return library.HessianOperator(model, [(x, y)], loss)


def _split(v, model):
    parameters = list(model.parameters())
    return [part.view_as(p) for part, p in zip(v.split([p.numel() for p in parameters]), parameters, strict=True)]
