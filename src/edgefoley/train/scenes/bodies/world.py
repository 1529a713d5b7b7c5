"""Rigid-body physics of one scene with pybullet: simulate once, keep every pose and every touch.

Steps are 1/960 s; a touch is a contact point with an impulse, so an instant is known to a step. Bodies that a
hand holds (`Grip`) or that follow a path (`drive`) are moved by their prescribed motion and push the others
with its velocity. Left out: soft bodies, joints (doors and limbs are prescribed, not simulated).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.stuff import STUFF
from edgefoley.train.scenes.bodies.things import Thing
from edgefoley.train.scenes.bodies.tracks import POSE_RATE, smooth

Array = NDArray[np.float64]
Path = Callable[[float], Array]

STEP_RATE: Final = 960
GRAVITY: Final = 9.81
GROUND: Final = -1  # the index of the ground in touches
_DRIVEN_KG: Final = 60.0  # a hand with the body behind it


@contextmanager
def _mute() -> Iterator[None]:
    """Keep what C code prints (a build time, on import) off the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    libc = ctypes.CDLL(None)
    saved = [(fd, os.dup(fd)) for fd in (1, 2)]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd, _ in saved:
            os.dup2(sink, fd)
        yield
        libc.fflush(None)
    finally:
        for fd, copy in saved:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(sink)


def engine() -> Any:
    """The pybullet module, imported without its greeting."""
    if "pybullet" not in sys.modules:
        with _mute():
            import pybullet
    import pybullet

    return pybullet


@cache
def _pool(slot: str) -> tuple[list[Any], list[list[float]]]:
    return [], []


def lent(slot: str, array: NDArray[Any]) -> list[Any]:
    """An array (N,) or (N, K) as nested lists for one call of the engine.

    pybullet 3.2.7 keeps a reference to every list that it is given for a mesh (vertices, uvs, normals,
    indices), about 70 kB for each body. So the same lists are filled anew each time, one set per slot; not
    for threads.
    """
    outer, rows = _pool(slot)
    values = array.tolist()
    if array.ndim == 1:
        outer[:] = values
        return outer
    rows += [[] for _ in range(len(values) - len(rows))]
    for row, value in zip(rows, values, strict=False):
        row[:] = value
    outer[:] = rows[: len(values)]
    return outer


@dataclass(frozen=True)
class Grip:
    """A body is held from start to end (s), carried from where it was to position (3,) and turn, then let go
    with velocity and spin (m/s, rad/s)."""

    start: float
    end: float
    position: tuple[float, float, float]
    turn: Rotation = field(default_factory=Rotation.identity)
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    carry: float = 0.7  # seconds of the way; held still afterwards


@dataclass
class Touches:
    """Contact points, one row each: time s; a, b: body indices (GROUND: the ground); impulse N s; point (3,);
    approach, slide: normal and tangential speed m/s of the two surfaces just before."""

    time: Array
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    impulse: Array
    point: Array
    approach: Array
    slide: Array


@dataclass
class _Body:
    uid: int
    mass: float
    grips: Sequence[Grip]
    drive: Path | None
    tether: tuple[float, float] | None
    home: Array
    held: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    origin: Array | None = None
    grip: Grip | None = None


class World:
    """Put bodies in, run() once, read `poses` and `touches`. ground: what lies at z = 0, "" for nothing."""

    def __init__(self, ground: str, bounce: float | None = None) -> None:
        p = self._p = engine()
        self._c = p.connect(p.DIRECT)
        p.setGravity(0, 0, -GRAVITY, physicsClientId=self._c)
        p.setPhysicsEngineParameter(
            fixedTimeStep=1 / STEP_RATE,
            numSolverIterations=30,
            restitutionVelocityThreshold=0.08,
            contactBreakingThreshold=0.004,
            contactERP=0.02,  # pushing what has sunk in out faster would add to the bounce
            deterministicOverlappingPairs=1,
            physicsClientId=self._c,
        )
        self._bodies: list[_Body] = []
        self.names: list[Thing] = []
        self._ground = -2
        if ground:
            stuff = STUFF[ground]
            plane = p.createCollisionShape(p.GEOM_PLANE, physicsClientId=self._c)
            self._ground = p.createMultiBody(0, plane, physicsClientId=self._c)
            firm = stuff.firmness if bounce is None else bounce
            self._surface(self._ground, firm, max(1.6 * stuff.friction, 0.15))

    def _surface(self, uid: int, restitution: float, friction: float, rolling: float = 0.0) -> None:
        self._p.changeDynamics(
            uid,
            -1,
            restitution=restitution,
            lateralFriction=friction,
            rollingFriction=rolling,
            spinningFriction=rolling,
            linearDamping=0.0,
            angularDamping=0.01,
            physicsClientId=self._c,
        )

    def put(self, thing: Thing, pose: ArrayLike, **motion: Any) -> int:
        """Add a body at pose (7,) and return its index. motion: velocity, spin (3,); fixed: bool; grips;
        drive: a path t -> pose (7,) it follows; tether: (spring N/m/kg, damping) to where it starts;
        bounce, friction, rolling: in place of the material's."""
        p, q = self._p, np.asarray(pose, np.float64)
        kind = {"sphere": p.GEOM_SPHERE, "cylinder": p.GEOM_CYLINDER, "box": p.GEOM_BOX, "hull": p.GEOM_MESH}
        build = {k: lent("hull", v) if k == "vertices" else v for k, v in thing.solid_size().items()}
        shape = p.createCollisionShape(kind[thing.solid], physicsClientId=self._c, **build)
        mass = 0.0 if motion.get("fixed") else thing.mass
        drive = motion.get("drive")
        uid = p.createMultiBody(
            _DRIVEN_KG if drive else mass, shape, -1, q[:3].tolist(), q[3:].tolist(), physicsClientId=self._c
        )
        stuff = STUFF[thing.material]
        self._surface(
            uid,
            motion.get("bounce", stuff.firmness if mass == 0 else stuff.bounce),
            motion.get("friction", stuff.friction),
            motion.get("rolling", 0.0),
        )
        if drive and self._ground >= 0:
            p.setCollisionFilterPair(uid, self._ground, -1, -1, 0, physicsClientId=self._c)
        p.resetBaseVelocity(
            uid,
            list(motion.get("velocity", (0, 0, 0))),
            list(motion.get("spin", (0, 0, 0))),
            physicsClientId=self._c,
        )
        self._bodies.append(
            _Body(uid, mass, tuple(motion.get("grips", ())), drive, motion.get("tether"), q.copy())
        )
        self.names.append(thing)
        return len(self._bodies) - 1

    def _hold(self, body: _Body, t: float) -> bool:
        """Move a gripped body along; True while it is held."""
        p, c = self._p, self._c
        grip = next((g for g in body.grips if g.start <= t < g.end), None)
        if grip is not body.grip:
            old, body.grip = body.grip, grip
            if old is not None and grip is None:
                p.resetBaseVelocity(body.uid, list(old.velocity), list(old.spin), physicsClientId=c)
            if grip is not None:
                place, quat = p.getBasePositionAndOrientation(body.uid, physicsClientId=c)
                body.origin = np.array(place)
                body.held = (quat, tuple(grip.turn.as_quat().tolist()))
        if grip is None or body.origin is None or body.held is None:
            return False
        u = (
            1.0
            if grip.start < 0
            else float(smooth((t - grip.start) / min(grip.carry, grip.end - grip.start)))
        )
        place = (1 - u) * body.origin + u * np.array(grip.position)
        if u < 1:  # over and not along the ground
            way = float(np.hypot(*(body.origin - grip.position)[:2]))
            place[2] += min(0.3 * way, 0.15) * np.sin(np.pi * u)
        quat = p.getQuaternionSlerp(*body.held, u) if u < 1 else body.held[1]
        p.resetBasePositionAndOrientation(body.uid, place.tolist(), quat, physicsClientId=c)
        p.resetBaseVelocity(body.uid, [0, 0, 0], [0, 0, 0], physicsClientId=c)
        return True

    def _turn(self, start: Array, end: Array) -> Array:
        """The rotation vector from one quaternion to another."""
        p = self._p
        difference = p.getDifferenceQuaternion(start.tolist(), end.tolist())
        axis, angle = p.getAxisAngleFromQuaternion(difference)
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        return np.array(axis) * angle

    def _guide(self, body: _Body, t: float) -> None:
        """Set a driven body on its path, with the path's velocity."""
        assert body.drive is not None
        p, c, dt = self._p, self._c, 1 / STEP_RATE
        here, there = body.drive(t), body.drive(t + dt)
        velocity = (there[:3] - here[:3]) / dt
        spin = self._turn(here[3:], there[3:]) / dt
        p.resetBasePositionAndOrientation(body.uid, here[:3].tolist(), here[3:].tolist(), physicsClientId=c)
        p.resetBaseVelocity(body.uid, velocity.tolist(), spin.tolist(), physicsClientId=c)

    def run(self, seconds: float) -> Record:
        """Simulate and free the engine. Returns the poses (T, bodies, 7) at POSE_RATE and the touches."""
        p, c = self._p, self._c
        steps = (int(np.ceil(seconds * POSE_RATE)) + 3) * (STEP_RATE // POSE_RATE)
        index = {b.uid: i for i, b in enumerate(self._bodies)} | {self._ground: GROUND}
        states = np.zeros((steps, len(self._bodies), 13))
        rows: list[tuple[float, ...]] = []
        for n in range(steps):
            t = n / STEP_RATE
            for i, body in enumerate(self._bodies):
                held = self._hold(body, t)
                if body.drive is not None:
                    self._guide(body, t)
                place, quat = p.getBasePositionAndOrientation(body.uid, physicsClientId=c)
                velocity, spin = p.getBaseVelocity(body.uid, physicsClientId=c)
                states[n, i] = (*place, *quat, *velocity, *spin)
                if body.tether is not None and not held:
                    self._pull(body, states[n, i])
            p.stepSimulation(physicsClientId=c)
            for touch in p.getContactPoints(physicsClientId=c):
                if touch[9] > 0:
                    a, b = index[touch[1]], index[touch[2]]
                    rows.append((n, a, b, touch[9] / STEP_RATE, *touch[5], *touch[7]))
        p.disconnect(c)
        return Record(states[:: STEP_RATE // POSE_RATE, :, :7], _touches(rows, states), tuple(self.names))

    def _pull(self, body: _Body, state: Array) -> None:
        """Spring a tethered body back to where it began."""
        assert body.tether is not None
        stiff, damp = body.tether
        force = body.mass * (stiff * (body.home[:3] - state[:3]) - damp * state[7:10])
        force[2] += body.mass * GRAVITY
        turn = self._turn(state[3:7], body.home[3:])
        size = float(self.names[self._bodies.index(body)].half.max())
        torque = body.mass * size**2 * 0.3 * (stiff * turn - damp * state[10:13])
        p, c = self._p, self._c
        p.applyExternalForce(
            body.uid, -1, force.tolist(), state[:3].tolist(), p.WORLD_FRAME, physicsClientId=c
        )
        p.applyExternalTorque(body.uid, -1, torque.tolist(), p.WORLD_FRAME, physicsClientId=c)


@dataclass(frozen=True)
class Record:
    """What a run left: poses (T, bodies, 7), touches, and the things by index."""

    poses: Array
    touches: Touches
    things: tuple[Thing, ...]


def _touches(rows: list[tuple[float, ...]], states: Array) -> Touches:
    table = np.array(rows, np.float64).reshape(-1, 10)
    step = table[:, 0].astype(np.int64)
    a, b = table[:, 1].astype(np.int64), table[:, 2].astype(np.int64)
    point, normal = table[:, 4:7], table[:, 7:10]  # the normal points from b to a

    def speed(body: NDArray[np.int64]) -> Array:
        state = states[step, np.maximum(body, 0)]
        v = state[:, 7:10] + np.cross(state[:, 10:13], point - state[:, :3])
        return np.where((body == GROUND)[:, None], 0.0, v)

    between = speed(a) - speed(b)
    approach = -(between * normal).sum(axis=1)
    slide = np.linalg.norm(between + approach[:, None] * normal, axis=1)
    return Touches(step / STEP_RATE, a, b, table[:, 3], point, approach, slide)
