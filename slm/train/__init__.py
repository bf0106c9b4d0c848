from slm.train.job import read_card, train

__all__ = ["read_card", "train"]
