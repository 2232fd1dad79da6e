"""The methods of SAM's family, each at the radius that its authors give it where they give SAM one."""

from collections.abc import Mapping

__all__ = ["FAMILY", "spec"]

FAMILY: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "sgd": ("sgd", ()),
    "sgd_twice": ("sgd", ()),
    "sam": ("sam:rho={:g}", (1,)),
    "sam_every_5": ("every:k=5,method=sam:rho={:g}", (1,)),
    "look_sam": ("look_sam:rho={:g}", (1,)),
    "rst": ("rst:method=sam:rho={:g}", (1,)),
    "ae_sam": ("ae_sam:method=sam:rho={:g}", (1,)),
    "esam": ("esam:rho={:g}", (1,)),
    "k_sam": ("k_sam:rho={:g}", (1,)),
    "momentum_sam": ("momentum_sam:rho={:g}", (6,)),  # 0.3 for SAM's 0.05, ResNet-50 on ImageNet
    "lpf_sgd": ("lpf_sgd:samples=4,gamma={:g}", (0.04,)),  # amid the authors' 0.0005 to 0.0075; parts of 16
    "random_perturbation": ("random_perturbation:rho={:g}", (1,)),
    "asam": ("asam:rho={:g}", (10,)),  # 0.5 for SAM's 0.05, CIFAR-10
    "sam_on": ("sam_on:rho={:g}", (5,)),  # 1.0 for SAM's 0.2, CIFAR-100
    "gsam": ("gsam:rho={:g}", (1,)),
    "msam": ("msam:m=16,rho={:g}", (1,)),
    "usam": ("usam:rho={:g}", (1,)),
    "gnp": ("gnp:rho={:g}", (1,)),
    "wsam": ("wsam:rho={:g}", (1,)),
    "f_sam": ("f_sam:rho={:g}", (1,)),
    "vasso": ("vasso:rho={:g}", (1,)),
    "fisher_sam": ("fisher_sam:rho={:g}", (1,)),
    "sparse_sam": ("sparse_sam:rho={:g}", (1,)),
    "functional_sam": ("functional_sam:rho={:g}", (1,)),
    "eigen_sam": ("eigen_sam:rho={:g}", (1,)),
    "obf": ("obf:gamma=0,method=sam:rho={:g}", (1,)),  # gamma as the authors have it for convolutions
    "stale_sam": ("stale_sam:rho={:g}", (1,)),
    "rwp": ("rwp:gamma={:g}", (0.1,)),  # the authors' 0.01
    "bsam": ("bsam:rho={:g},rho_min={:g}", (1, 0.5)),  # the authors let rho_min fall from rho to 0
    "cr_sam": ("cr_sam:rho={:g}", (1,)),
    "multi_step_sam": ("multi_step_sam:rho={:g}", (1,)),
    "gam": ("gam:rho_1={:g},rho_2={:g}", (0.2, 2)),  # 0.02 and 0.2 for SAM's 0.1, CIFAR-100
}
"""How each method is run: its spec, and its radii as multiples of SAM's."""


def spec(method: str, rho: float) -> str:
    """How a method is run where SAM has the radius ``rho``.

    Example:
        >>> spec("asam", 0.1), spec("gam", 0.1), spec("sam:rho=0.3", 0.1)
        ('asam:rho=1', 'gam:rho_1=0.02,rho_2=0.2', 'sam:rho=0.3')
    """
    template, multiples = FAMILY.get(method, (method, ()))
    return template.format(*(multiple * rho for multiple in multiples))
