from slm.train.job import read_card, train, training_data, weights_hash

__all__ = ["read_card", "train", "training_data", "weights_hash"]
