from slm.train.job import read_card, require_finished, train, training_data, weights_hash

__all__ = ["read_card", "require_finished", "train", "training_data", "weights_hash"]
