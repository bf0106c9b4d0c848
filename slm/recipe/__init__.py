from slm.recipe.keys import Key, known_keys
from slm.recipe.load import load_recipe, shipped_recipes, to_yaml
from slm.recipe.run import RunFolder, file_safe
from slm.recipe.schema import (
    DataSection,
    EvaluateSection,
    GenerateSection,
    LoraSection,
    ModelSection,
    Recipe,
    TaskSection,
    TrainSection,
    recipe_hash,
    training_hash,
)

__all__ = [
    "DataSection",
    "EvaluateSection",
    "GenerateSection",
    "Key",
    "LoraSection",
    "ModelSection",
    "Recipe",
    "RunFolder",
    "TaskSection",
    "TrainSection",
    "file_safe",
    "known_keys",
    "load_recipe",
    "recipe_hash",
    "shipped_recipes",
    "to_yaml",
    "training_hash",
]
