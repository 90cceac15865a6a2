"""What the sizes of a recipe are called.

``debug`` runs in the tests in seconds, ``demo`` trains on two cores in minutes, ``small`` is the CPU benchmark's size,
``full`` is RadioMapSeer's own shape on GPUs, ``paper`` is the paper's own recipe.
"""

from typing import Literal

Size = Literal["debug", "demo", "small", "full", "paper"]
