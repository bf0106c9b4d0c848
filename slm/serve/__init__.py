from slm.serve.address import Address, make_address
from slm.serve.stopping import until_stopped
from slm.serve.vllm import Weights, find_vllm, require_vllm, run_vllm, vllm_command

__all__ = [
    "Address",
    "Weights",
    "find_vllm",
    "make_address",
    "require_vllm",
    "run_vllm",
    "until_stopped",
    "vllm_command",
]
