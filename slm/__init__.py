"""Find out, with evidence, whether a small model that you tune and run can replace a hosted LLM on a narrow task."""

__version__ = "0.1.0"
