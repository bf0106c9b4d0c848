"""`slm recipe`, `slm models` and `slm suites`: look, without running anything."""

import typer

from slm.cli.output import Json, emit
from slm.cli.training import AcceptLicense, Overrides, RecipeArgument

recipe_app = typer.Typer(help="Check and show recipes.", no_args_is_help=True)
models_app = typer.Typer(help="The models slm knows.", no_args_is_help=True)
suites_app = typer.Typer(help="The evaluation suites slm knows.", no_args_is_help=True)


@recipe_app.command("check")
def check(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Report every problem of a recipe at once, each with file, line and key.

    Example: slm recipe check recipes/quickstart.yaml
    """
    from slm.models import find_model
    from slm.recipe import load_recipe, recipe_hash

    loaded = load_recipe(recipe, overrides or ())
    find_model(loaded.model.name)
    print(f"{recipe}: good, hash {recipe_hash(loaded)[:12]}")


@recipe_app.command("show")
def show(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Print the resolved recipe: with defaults, its base and overrides filled in.

    Example: slm recipe show quickstart train.epochs=2
    """
    from slm.recipe import load_recipe, to_yaml

    print(to_yaml(load_recipe(recipe, overrides or ())), end="")


@models_app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the catalog of models.

    Example: slm models list
    """
    from slm.models import list_models as catalog
    from slm.models import model_folder

    emit(
        [
            {
                "name": entry.name,
                "family": entry.family,
                "parameters": entry.parameters,
                "licence": entry.licence,
                "source": entry.source.describe(),
                "cached": "yes" if model_folder(entry).is_dir() else "no",
            }
            for entry in catalog()
        ],
        as_json=as_json,
    )


@models_app.command("pull")
def pull(name: str, accept_license: AcceptLicense = False) -> None:
    """Fetch a model, check it, and convert it once for all later use.

    Example: slm models pull smollm2-135m
    """
    from slm.models import pull_model

    print(pull_model(name, accept_license=accept_license))


@suites_app.command("list")
def list_suites(as_json: Json = False) -> None:
    """List the evaluation suites, and whether their data is here.

    Example: slm suites list
    """
    from slm.data import list_suites as suites

    emit(
        [
            {
                "name": suite.name,
                "splits": ", ".join(suite.splits),
                "title": suite.title,
                "licence": suite.licence,
                "here": "yes" if suite.present else "no: " + suite.get,
            }
            for suite in suites()
        ],
        as_json=as_json,
    )
