from slm.train.job import read_card, train, weights_hash

__all__ = ["read_card", "train", "weights_hash"]
