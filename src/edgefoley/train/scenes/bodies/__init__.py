"""Scenes of bodies in space: rigid-body physics, limbs and tools, drawn by pybullet's software rasteriser.

`stage` makes one; `ACTIONS` says which actions it can show. Left out: liquids, flames, soft bodies, vehicles,
mouths and crowds (the flat renderer draws those).
"""

from edgefoley.train.scenes.bodies.play import ACTIONS, BodyStage, stage

__all__ = ["ACTIONS", "BodyStage", "stage"]
