from slm.models.cache import model_fingerprint, model_folder
from slm.models.catalog import CatalogEntry, find_model, list_models
from slm.models.pull import pull_model

__all__ = ["CatalogEntry", "find_model", "list_models", "model_fingerprint", "model_folder", "pull_model"]
