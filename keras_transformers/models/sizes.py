"""Sizes of prompts, batches and caches. They are few, so that few shapes are compiled; no result depends on them.

Room in a cache grows in powers of two from 32 on. Prompts, and room for long ones, have sizes from `bucket`.
"""

SMALLEST_ROOM = 32  # positions of a new cache
LARGE_ROOM = 512
# Compiled attention computes a score for each pair of a query and a position of the cache. A long prompt is therefore
# read with at most this many queries at a time, into a cache that begins with this room and doubles.
READ_AT_ONCE = 256
ROOM_TO_READ = 1024


def bucket(length: int, steps: int = 2) -> int:
    """Round a length up to one of few sizes: a multiple of 8 with at most `steps` steps between powers of two, such as
    8, 16, 24, 32, 48, 64, 96, 128, …: few shapes, little padding."""
    step = max(8, power_of_two(int(length)) // (2 * steps))
    return max(-(-int(length) // step) * step, step)


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def pieces_to_read(count: int, spare: int, reach: int) -> list[int]:
    """The lengths of the pieces in which a prompt of `count` tokens is read, in few sizes.

    The last piece may extend beyond the prompt if there are `spare` positions and the cache can trim as many (`reach`).
    Otherwise the rest is read in powers of two.
    """
    whole, rest = divmod(count - 1, READ_AT_ONCE)
    rest += 1
    beyond = max(0, min(bucket(rest) - rest, spare))
    if beyond <= reach:
        return [READ_AT_ONCE] * whole + [rest + beyond]
    return [READ_AT_ONCE] * whole + [1 << n for n in reversed(range(rest.bit_length())) if rest >> n & 1]


def room_for(positions: int) -> int:
    """The size of a cache for the given number of positions: one of few sizes, with little excess for long ones."""
    return bucket(positions) if positions > LARGE_ROOM else max(SMALLEST_ROOM, power_of_two(positions))
