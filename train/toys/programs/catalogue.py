"""Every toy program by its name."""

from train.toys.programs import attention, bases, bumps, collisions, compressed, gru, overlap, parity, shrinking
from train.toys.programs.base import Program

PROGRAMS: dict[str, Program] = {
    module.PROGRAM.name: module.PROGRAM
    for module in (parity, bumps, bases, attention, gru, collisions, compressed, overlap, shrinking)
}
"""The first five ask problems 4.19, 4.18, 4.20, 4.15 and 4.17; the others are set-ups of published results."""
