"""Local generation: each context is computed once, and questions join the running batch as others are answered."""

from slm.generate.local.backend import LocalBackend, load_form_backend, load_local
from slm.generate.local.engine import Engine, Token

__all__ = ["Engine", "LocalBackend", "Token", "load_form_backend", "load_local"]
