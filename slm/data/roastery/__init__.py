from slm.data.roastery.build import build

__all__ = ["build"]
