"""MLflow's registry: models by name, versions and the aliases ``champion`` and ``challenger``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from raymap.config import Settings

#: The version that is served, and the newest that wants to be.
CHAMPION, CHALLENGER = "champion", "challenger"
CARD_FILE = "README.md"


class Card(Settings):
    """What is told of a model where it is registered."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="registered model, e.g. k2")
    text: str = Field(description="the model card, Markdown")
    tags: dict[str, str] = Field({}, description="of the version")
    shape: tuple[int, int] | None = Field(None, description="cells of the map of the input example; None without one")
    cell_m: float = Field(4.0, gt=0, description="its cells [m]")


def write(folder: Path, target: Path, card: Card | None) -> None:
    """A model folder as an MLflow model in ``target``; with a ``card``, with signature, input example and the card."""
    import mlflow

    example = None if card is None or card.shape is None else _example(card)
    with warnings.catch_warnings():
        # The example is written below: MLflow's own way would load the model once more.
        warnings.filterwarnings("ignore", "(?s).*input example was not provided")
        mlflow.pyfunc.save_model(
            path=str(target),
            loader_module="raymap.runtime.registry",
            data_path=str(folder),
            pip_requirements=["raymap"],
            signature=None if example is None else _signature(example),
        )
    if card is not None:
        (target / CARD_FILE).write_text(card.text)
    if example is not None:
        np.savez_compressed(target / "input_example.npz", **example)


def _example(card: Card) -> dict[str, np.ndarray]:
    """The columns of one generated block with one transmitter."""
    from raymap.data import generated, sites
    from raymap.data.columns import scene_columns
    from raymap.scene import Grid

    scene = generated.city(0, Grid(card.shape, card.cell_m))
    columns = scene_columns([scene], sites.place(scene, 1, 0))
    # Without the name of the scene: text is Python objects, which nobody reads from an unknown file.
    return {name: np.asarray(value) for name, value in columns.items() if name != "scene"}


def _signature(example: Mapping[str, np.ndarray]):
    """Columns in, path gain (B, H, W) [dB] out; numbers of samples and cells are free."""
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    columns = [
        TensorSpec(value.dtype, (-1,) * min(value.ndim, 1) + _free(value), name) for name, value in example.items()
    ]
    gain = TensorSpec(np.dtype("float32"), (-1, -1, -1), "gain_db")
    return ModelSignature(Schema(columns), Schema([gain]), ParamSchema([ParamSpec("seed", "long", 0)]))


def _free(value: np.ndarray) -> tuple[int, ...]:
    """Sides of maps may differ, the components of a position may not."""
    return tuple(-1 if value.ndim > 2 else size for size in value.shape[1:])


def register(client, run_id: str, card: Card) -> str:
    """Make the model of a run the next version of the registered model, and its challenger; the version.

    The first version of all is the champion. A run that has registered its model before has that version.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(card.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    mine = [one for one in client.search_model_versions(f"name='{card.name}'") if one.run_id == run_id]
    if mine:
        return mine[0].version
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    version = client.create_model_version(card.name, source, run_id, tags=card.tags, description=card.text).version
    aliases = client.get_registered_model(card.name).aliases
    client.set_registered_model_alias(card.name, CHAMPION if CHAMPION not in aliases else CHALLENGER, version)
    return version


def version_of(client, name: str, alias: str) -> str:
    """The version that has an alias. Raises ValueError, with the aliases that there are, if none has."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        raise ValueError(f"no registered model is called {name!r} ({error})") from error
    if alias not in aliases:
        known = ", ".join(f"{key} (version {value})" for key, value in sorted(aliases.items())) or "none"
        raise ValueError(f"no version of {name!r} has the alias {alias!r}; aliases: {known}")
    return str(aliases[alias])


def fetch(uri: str, tracking_uri: str | None = None) -> Path:
    """Local folder of a model named as "models:/name@alias", "models:/name/version" or "runs:/id/model".

    Raises ValueError for a registered model, or an alias of it, that does not exist.
    """
    import mlflow

    if uri.startswith("models:/") and tracking_uri is not None:
        # MLflow would look for the name in the registry of its own default store.
        client = mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)
        name, _, version = uri.removeprefix("models:/").replace("@", "/@").partition("/")
        version = version_of(client, name, version[1:]) if version.startswith("@") else version
        uri = client.get_model_version_download_uri(name, version)
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=tracking_uri))
    return folder / mlflow.models.Model.load(folder).flavors["python_function"]["data"]


def _load_pyfunc(folder: str):
    """MLflow's door to a logged model: a predictor whose ``predict`` takes the columns of a dataset's rows."""
    from raymap.models import base

    return _ColumnPredictor(base.load(folder))


class _ColumnPredictor:
    def __init__(self, model) -> None:
        self.model = model

    def predict(self, columns: Mapping[str, Sequence], params: dict | None = None) -> np.ndarray:
        """Columns of a shard, no gain needed, (B, ...) -> path gain (B, H, W) [dB]. ``params``: {"seed": int}."""
        import torch

        from raymap import units
        from raymap.data.batch import from_columns
        from raymap.data.columns import add_dominant_path, add_physics

        columns = add_physics({name: np.asarray(value) for name, value in columns.items()})
        if self.model.config.reads("dominant_path"):
            columns = add_dominant_path(columns)
        batch = from_columns(columns)
        seed = int((params or {}).get("seed", 0))
        with torch.no_grad():
            signal = self.model.predict(batch.blind(), [seed + index for index in range(len(batch))])
        return units.gain_db_from_signal(signal.numpy()[:, 0])
