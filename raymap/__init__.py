"""raymap: radio maps learned with physics-informed diffusion models, trained and served on Ray.

``raymap.load(name)`` opens a trained model, ``raymap.predict(model, scene, transmitters)`` draws radio maps with it,
``raymap.pretrained()`` names the models that came with the installation.
"""

__version__ = "0.1.0"
__all__ = ["load", "predict", "pretrained"]


def __getattr__(name: str):
    # Importing raymap must stay free: torch and the models are imported when one of the doors is first used.
    if name in __all__:
        from raymap import api

        return getattr(api, name)
    raise AttributeError(f"module 'raymap' has no attribute {name!r}")
