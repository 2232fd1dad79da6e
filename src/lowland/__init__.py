"""lowland: steer, and measure, which solution training finds.

The front page. Everything is imported when first used, so ``import lowland`` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lowland.blocks.mask import no_bias, no_norm, norm_only
    from lowland.blocks.radius import Cosine, ProportionalToLearningRate, Ramp, WarmUp
    from lowland.engine.masters import Masters
    from lowland.engine.method import Method
    from lowland.engine.objective import objective
    from lowland.engine.replicas import Replicas
    from lowland.engine.request import ball
    from lowland.estimate.density import density
    from lowland.estimate.top import top
    from lowland.estimate.trace import trace
    from lowland.layers.collapse import collapse
    from lowland.layers.expand import expand
    from lowland.measuring.measure import measure
    from lowland.measuring.probe import probe
    from lowland.methods.ae_sam import AESAM
    from lowland.methods.asam import ASAM
    from lowland.methods.bsam import BSAM
    from lowland.methods.cr_sam import CRSAM
    from lowland.methods.eigen_sam import EigenSAM
    from lowland.methods.esam import ESAM
    from lowland.methods.every import Every
    from lowland.methods.f_sam import FSAM
    from lowland.methods.fisher_sam import FisherSAM
    from lowland.methods.functional_sam import FunctionalSAM
    from lowland.methods.gam import GAM
    from lowland.methods.gnp import GNP
    from lowland.methods.gradient_penalty import GradientPenalty
    from lowland.methods.gsam import GSAM
    from lowland.methods.imb_sam import ImbSAM
    from lowland.methods.k_sam import KSAM
    from lowland.methods.look_sam import LookSAM
    from lowland.methods.lpf_sgd import LPFSGD
    from lowland.methods.momentum_sam import MomentumSAM
    from lowland.methods.msam import MSAM
    from lowland.methods.multi_step_sam import MultiStepSAM
    from lowland.methods.obf import OBF
    from lowland.methods.random_perturbation import RandomPerturbation
    from lowland.methods.rst import RST
    from lowland.methods.rwp import RWP
    from lowland.methods.sam import SAM
    from lowland.methods.sam_on import SAMON
    from lowland.methods.sgd import SGD
    from lowland.methods.sparse_sam import SparseSAM
    from lowland.methods.stale_sam import StaleSAM
    from lowland.methods.usam import USAM
    from lowland.methods.vasso import VaSSO
    from lowland.methods.wsam import WSAM
    from lowland.operators.fisher import fisher
    from lowland.operators.gauss_newton import gauss_newton
    from lowland.operators.hessian import hessian
    from lowland.operators.jacobian import jacobian
    from lowland.operators.nme import nme
    from lowland.operators.problem import problem
    from lowland.penalties.bar import BAR
    from lowland.penalties.debiased_ema import DebiasedEMA
    from lowland.penalties.ema import EMA
    from lowland.penalties.gauss_newton_trace import GaussNewtonTrace
    from lowland.penalties.hessian_trace import HessianTrace
    from lowland.penalties.mesa import MESA
    from lowland.penalties.saf import SAF
    from lowland.penalties.swa import SWA
    from lowland.train.fit import fit

__all__ = [
    "AESAM",
    "ASAM",
    "BAR",
    "BSAM",
    "CRSAM",
    "EMA",
    "ESAM",
    "FSAM",
    "GAM",
    "GNP",
    "GSAM",
    "KSAM",
    "LPFSGD",
    "MESA",
    "MSAM",
    "OBF",
    "RST",
    "RWP",
    "SAF",
    "SAM",
    "SAMON",
    "SGD",
    "SWA",
    "USAM",
    "WSAM",
    "Cosine",
    "DebiasedEMA",
    "EigenSAM",
    "Every",
    "FisherSAM",
    "FunctionalSAM",
    "GaussNewtonTrace",
    "GradientPenalty",
    "HessianTrace",
    "ImbSAM",
    "LookSAM",
    "Masters",
    "Method",
    "MomentumSAM",
    "MultiStepSAM",
    "ProportionalToLearningRate",
    "Ramp",
    "RandomPerturbation",
    "Replicas",
    "SparseSAM",
    "StaleSAM",
    "VaSSO",
    "WarmUp",
    "ball",
    "collapse",
    "density",
    "expand",
    "fisher",
    "fit",
    "gauss_newton",
    "hessian",
    "jacobian",
    "measure",
    "nme",
    "no_bias",
    "no_norm",
    "norm_only",
    "objective",
    "probe",
    "problem",
    "top",
    "trace",
]

HOMES = {
    "lowland.blocks.mask": (
        "no_bias",
        "no_norm",
        "norm_only",
    ),
    "lowland.blocks.radius": (
        "Cosine",
        "ProportionalToLearningRate",
        "Ramp",
        "WarmUp",
    ),
    "lowland.engine.masters": ("Masters",),
    "lowland.engine.method": ("Method",),
    "lowland.engine.objective": ("objective",),
    "lowland.engine.replicas": ("Replicas",),
    "lowland.engine.request": ("ball",),
    "lowland.estimate.density": ("density",),
    "lowland.estimate.top": ("top",),
    "lowland.estimate.trace": ("trace",),
    "lowland.layers.collapse": ("collapse",),
    "lowland.layers.expand": ("expand",),
    "lowland.measuring.measure": ("measure",),
    "lowland.measuring.probe": ("probe",),
    "lowland.methods.ae_sam": ("AESAM",),
    "lowland.methods.asam": ("ASAM",),
    "lowland.methods.bsam": ("BSAM",),
    "lowland.methods.cr_sam": ("CRSAM",),
    "lowland.methods.eigen_sam": ("EigenSAM",),
    "lowland.methods.esam": ("ESAM",),
    "lowland.methods.every": ("Every",),
    "lowland.methods.f_sam": ("FSAM",),
    "lowland.methods.fisher_sam": ("FisherSAM",),
    "lowland.methods.functional_sam": ("FunctionalSAM",),
    "lowland.methods.gam": ("GAM",),
    "lowland.methods.gnp": ("GNP",),
    "lowland.methods.gradient_penalty": ("GradientPenalty",),
    "lowland.methods.gsam": ("GSAM",),
    "lowland.methods.imb_sam": ("ImbSAM",),
    "lowland.methods.k_sam": ("KSAM",),
    "lowland.methods.look_sam": ("LookSAM",),
    "lowland.methods.lpf_sgd": ("LPFSGD",),
    "lowland.methods.momentum_sam": ("MomentumSAM",),
    "lowland.methods.msam": ("MSAM",),
    "lowland.methods.multi_step_sam": ("MultiStepSAM",),
    "lowland.methods.obf": ("OBF",),
    "lowland.methods.random_perturbation": ("RandomPerturbation",),
    "lowland.methods.rst": ("RST",),
    "lowland.methods.rwp": ("RWP",),
    "lowland.methods.sam": ("SAM",),
    "lowland.methods.sam_on": ("SAMON",),
    "lowland.methods.sgd": ("SGD",),
    "lowland.methods.sparse_sam": ("SparseSAM",),
    "lowland.methods.stale_sam": ("StaleSAM",),
    "lowland.methods.usam": ("USAM",),
    "lowland.methods.vasso": ("VaSSO",),
    "lowland.methods.wsam": ("WSAM",),
    "lowland.operators.fisher": ("fisher",),
    "lowland.operators.gauss_newton": ("gauss_newton",),
    "lowland.operators.hessian": ("hessian",),
    "lowland.operators.jacobian": ("jacobian",),
    "lowland.operators.nme": ("nme",),
    "lowland.operators.problem": ("problem",),
    "lowland.penalties.bar": ("BAR",),
    "lowland.penalties.debiased_ema": ("DebiasedEMA",),
    "lowland.penalties.ema": ("EMA",),
    "lowland.penalties.gauss_newton_trace": ("GaussNewtonTrace",),
    "lowland.penalties.hessian_trace": ("HessianTrace",),
    "lowland.penalties.mesa": ("MESA",),
    "lowland.penalties.saf": ("SAF",),
    "lowland.penalties.swa": ("SWA",),
    "lowland.train.fit": ("fit",),
}


def __getattr__(name: str) -> object:
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'lowland' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
