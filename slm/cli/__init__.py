from slm.cli.app import app, main

__all__ = ["app", "main"]
