"""Many jobs one after the other: price them all, insert them, ruin and recreate. Compiled, like what they call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import Arrays
from .jit import inlined, jit
from .kernels import Row, blank, carbon_of, cheapest, cost_of, solve_pair, together
from .problem import Floats, Ints

_SAME = 1e-9  # relative; what differs by less is equal
_SOONER = 20  # times as often as another, a job that is left out is tried
# Ways in which prices are shaken: many where they are small, some anyway.
_FEWEST_SHAKEN, _MOST_SHAKEN, _SHAKEN_CELLS = 16, 512, 100_000


class Work(NamedTuple):
    """A plan in the making: `free` (P, T) GPUs, and per job its schedule, whether it has one, and what it costs."""

    free: Ints
    where: Any
    size: Any
    placed: Any
    cost: Floats


class View(NamedTuple):
    """How jobs are looked at: `scale` (J,), `floor` and `scratch` (Q,); (J,) `alone`, their least without others, and
    `drop`, what leaving them out counts as."""

    scale: Floats
    floor: Floats
    scratch: Floats
    alone: Floats
    drop: Floats


@jit
def floors(p: Arrays, scale: Floats, floor: Floats, alone: Floats) -> None:
    """What each pair costs with all GPUs and no price on them, and the least of it per job."""
    row = blank(p.grams.shape[1])
    for j in range(len(p.first)):
        pa, pb = p.pair_at[j], p.pair_at[j + 1]
        alone[j] = np.inf
        if p.movable[j] == 1 and pb - pa > 1:
            alone[j] = together(p, j, p.grams, 0.0, p.cap, scale[j], row)
            floor[pa:pb] = alone[j]
        else:
            for q in range(pa, pb):
                floor[q] = solve_pair(p, j, q, p.grams, 0.0, p.cap, scale[j], row.where, row.size)
                alone[j] = min(alone[j], floor[q])


class Memory(NamedTuple):
    """What rounds of prices know from the last one: (Q,) at most what each pair can give, whether exactly that, and how
    fast that falls with the price of its pool; (J,) budget scale and best pair (-1: none), and its schedule (J, T)."""

    floor: Floats
    exact: Any
    weight: Floats
    scale: Floats
    best: Ints
    where: Any
    size: Any


class Moved(NamedTuple):
    """How prices have changed since the last round, by pool: most fallen, and the slots [low, high) that changed."""

    fallen: Floats
    low: Ints
    high: Ints


@inlined
def _forget(p: Arrays, j: int, scale: float, known: Memory, moved: Moved) -> None:
    """Note what of job j the new prices have touched."""
    anew = scale != known.scale[j]
    known.scale[j] = scale
    for q in range(p.pair_at[j], p.pair_at[j + 1]):
        pool = p.pair_pool[q]
        if anew:
            known.exact[q], known.floor[q] = False, -np.inf
        elif moved.low[pool] < p.last[j] and moved.high[pool] > p.first[j]:
            known.exact[q] = False
            known.floor[q] -= known.weight[q] * moved.fallen[pool] * (1 + 1e-12)


@jit
def choose(p: Arrays, j: int, price: Floats, scale: float, limit: float, known: Memory, row: Row) -> float:
    """The least objective of job j at `price`, its schedule put into `known`; `limit` where none is less, and no best.

    Pairs are tried from the lowest floor on, and not once they cannot win; what no price has touched is not solved
    again.
    """
    pa, pb = p.pair_at[j], p.pair_at[j + 1]
    old, best, best_q = known.best[j], limit, -1
    joint = p.movable[j] == 1 and pb - pa > 1
    same = old >= 0
    if joint:
        for q in range(pa, pb):
            same = same and known.exact[q]
    if same and known.exact[old] and known.floor[old] < limit:
        best, best_q = known.floor[old], old
    if joint:
        if best_q < 0:
            value = together(p, j, price, 1.0, p.cap, scale, row)
            known.floor[pa:pb], known.exact[pa:pb] = value, True
            if value < limit:
                best, best_q = value, pa
                known.where[j], known.size[j] = row.where, row.size
        known.best[j] = best_q
        return best
    tried = np.zeros(pb - pa, dtype=np.bool_)
    if best_q >= 0:
        tried[best_q - pa] = True
    while True:
        q = -1
        for other in range(pa, pb):
            if not tried[other - pa] and (q < 0 or known.floor[other] < known.floor[q]):
                q = other
        if q < 0 or known.floor[q] >= best:
            break
        tried[q - pa] = True
        value = solve_pair(p, j, q, price, 1.0, p.cap, scale, row.where, row.size)
        known.floor[q], known.exact[q] = value, True
        if value < best and (best_q < 0 or value < best - _SAME * abs(best) or q < best_q):
            best, best_q = value, q
            known.where[j], known.size[j] = row.where, row.size
    known.best[j] = best_q
    return best


@jit
def price_round(
    p: Arrays,
    price: Floats,
    scale: Floats,
    wanted: Ints,
    begin: int,
    end: int,
    known: Memory,
    moved: Moved,
    use: Ints,
    spent: Floats,
) -> float:
    """Every wanted job of [begin, end) at its best at `price`, each as if alone: the sum of what they pay.

    `use` (P, T) counts the GPUs they take, `spent` (budgets,) their carbon. `wanted`: 0 leave out, 1 may be left out
    for its `drop_g`, 2 must be done. `known` is kept up for the next round.
    """
    row = blank(p.grams.shape[1])
    total = 0.0
    for j in range(begin, end):
        _forget(p, j, scale[j], known, moved)
        if wanted[j] == 0:
            continue
        total += choose(p, j, price, scale[j], p.drop_g[j] if wanted[j] == 1 else np.inf, known, row)
        if known.best[j] < 0:
            continue
        for t in range(p.first[j], p.last[j]):
            if known.where[j, t] >= 0:
                use[known.where[j, t], t] += p.size_gpus[p.size_at[j] + known.size[j, t]]
        if p.budget[j] >= 0:
            spent[p.budget[j]] += carbon_of(p, j, known.where[j], known.size[j])
    return total


@jit
def costs(p: Arrays, where: Any, size: Any, placed: Any, carbon: Floats, other: Floats) -> None:
    """(J,) grams of carbon and other prices of every placed job's schedule."""
    for j in range(len(p.first)):
        if placed[j]:
            carbon[j] = carbon_of(p, j, where[j], size[j])
            other[j] = cost_of(p, j, 1.0, where[j], size[j]) - carbon[j]


@inlined
def take(p: Arrays, work: Work, j: int) -> None:
    """Take the GPUs of job j's schedule."""
    work.placed[j] = True
    for t in range(p.first[j], p.last[j]):
        if work.where[j, t] >= 0:
            work.free[work.where[j, t], t] -= p.size_gpus[p.size_at[j] + work.size[j, t]]


@inlined
def leave(p: Arrays, work: Work, j: int) -> None:
    """Give them back."""
    work.placed[j] = False
    for t in range(p.first[j], p.last[j]):
        if work.where[j, t] >= 0:
            work.free[work.where[j, t], t] += p.size_gpus[p.size_at[j] + work.size[j, t]]


@inlined
def _place(p: Arrays, work: Work, j: int, price: Floats, strength: float, look: View, row: Row) -> None:
    """Job j at its best at `strength` times the prices in what is free; not placed where there is no room."""
    if cheapest(p, j, price, strength, work.free, look.scale[j], look.floor, look.scratch, np.inf, row) < np.inf:
        work.where[j], work.size[j] = row.where, row.size
        work.cost[j] = cost_of(p, j, look.scale[j], row.where, row.size)
        take(p, work, j)


@jit
def insert(p: Arrays, work: Work, order: Ints, price: Floats, strength: float, look: View) -> None:
    """Place the jobs of `order` one after the other at their best at `price` in what is free.

    A job that is placed already is taken out first and finds at least its old place again.
    """
    row = blank(p.grams.shape[1])
    for j in order:
        if work.placed[j]:
            leave(p, work, j)
        _place(p, work, j, price, strength, look, row)


@inlined
def _draw(state: Ints, below: int) -> int:
    """A number in [0, below), by the minimal standard generator: the same on every machine, compiled or not."""
    product = state[0] * 48271
    rest = (product & 2147483647) + (product >> 31)  # modulo 2^31 - 1 without a division
    state[0] = rest if rest < 2147483647 else rest - 2147483647
    return int(state[0] % below)


@inlined
def _pool_of(p: Arrays, j: int, where: Any) -> int:
    """The pool of a schedule's first slot."""
    for t in range(p.first[j], p.last[j]):
        if where[t] >= 0:
            return int(where[t])
    return -1


@jit
def _shuffled(p: Arrays, group: Ints, n: int, state: Ints) -> None:
    """In any order, the first mostly first; but nobody takes the GPUs of the running slot from under a job."""
    if _draw(state, 4) == 0:
        k = _draw(state, n)
        group[0], group[k] = group[k], group[0]
    for i in range(n - 1, 1, -1):
        k = 1 + _draw(state, i)
        group[i], group[k] = group[k], group[i]
    front = 0
    for i in range(n):
        if p.stays[group[i]] == 1:
            group[i], group[front] = group[front], group[i]
            front += 1


@jit
def displace(p: Arrays, work: Work, price: Floats, look: View, typical: float, state: Ints) -> None:
    """Put some job elsewhere, whoever is in its way, and those where there is still room: worse as a rule, but from
    there the way may lead to what no change of a few jobs reaches.

    Of two jobs it is the one that pays more above its least. Not placed any more is whoever finds no place.
    """
    jobs, slots = len(p.first), p.grams.shape[1]
    j = -1
    for _ in range(2):
        drawn = _draw(state, jobs)
        if p.stays[drawn] == 1 or look.alone[drawn] == np.inf:
            continue
        if j < 0 or work.cost[drawn] - look.alone[drawn] > work.cost[j] - look.alone[j]:
            j = drawn
    if j < 0:
        return
    asked = np.empty_like(price)
    for pool in range(price.shape[0]):
        for t in range(slots):
            asked[pool, t] = price[pool, t] * _draw(state, 2000) / 1000.0
            if _draw(state, 4) == 0:
                asked[pool, t] += typical * _draw(state, 3000) / 1000.0
    if work.placed[j]:
        leave(p, work, j)
        if _draw(state, 2) == 0:
            for t in range(p.first[j], p.last[j]):
                if work.where[j, t] >= 0:
                    asked[work.where[j, t], t] += 3.0 * typical
    row = blank(slots)
    if cheapest(p, j, asked, 1.0, p.cap, look.scale[j], look.floor, look.scratch, np.inf, row) == np.inf:
        return
    work.where[j], work.size[j] = row.where, row.size
    work.cost[j] = cost_of(p, j, look.scale[j], row.where, row.size)
    take(p, work, j)
    ousted = np.zeros(jobs, dtype=np.int64)
    n, begin = 0, _draw(state, jobs)
    for i in range(jobs):
        g = (begin + i) % jobs
        if g == j or not work.placed[g] or p.stays[g] == 1:
            continue
        for t in range(p.first[j], p.last[j]):
            pool = work.where[j, t]
            if pool >= 0 and work.where[g, t] == pool and work.free[pool, t] < 0:
                leave(p, work, g)
                ousted[n] = g
                n += 1
                break
    for t in range(p.first[j], p.last[j]):
        if work.where[j, t] >= 0 and work.free[work.where[j, t], t] < 0:  # of one that goes on in the running slot
            leave(p, work, j)
            break
    strength = _draw(state, 1200) / 1000.0
    for i in range(n):
        _place(p, work, ousted[i], price, strength, look, row)


@jit
def improve(
    p: Arrays,
    work: Work,
    price: Floats,
    look: View,
    moves: int,
    most: int,
    heat: float,
    keen: float,
    typical: float,
    state: Ints,
) -> int:
    """Ruin and recreate, `moves` times: the accepted moves.

    A job that pays more than it would alone is taken out with up to `most` of those that hold the GPUs it would like
    best; they go back in another order at scaled prices. What became worse is undone, unless it is by less than the
    draw of a temperature that falls from `heat` to 0; so is what gained less than the share `keen`. `typical`: grams
    that a GPU emits in a slot.
    """
    jobs, slots, pools = len(p.first), p.grams.shape[1], p.grams.shape[0]
    # Jobs by the pool of their first slot, in no order; last those that have none and might.
    members = np.zeros((pools + 1, jobs), dtype=np.int32)
    count = np.zeros(pools + 1, dtype=np.int64)
    seat, lives = np.full(jobs, -1, dtype=np.int64), np.full(jobs, pools, dtype=np.int64)
    for j in range(jobs):
        if work.placed[j]:
            lives[j] = _pool_of(p, j, work.where[j])
        if work.placed[j] or look.alone[j] < np.inf:
            seat[j] = count[lives[j]]
            members[lives[j], count[lives[j]]] = j
            count[lives[j]] += 1
    # Prices at which jobs that want the same slots part in other ways: scaled, and half of them dear here and there.
    variants = max(_FEWEST_SHAKEN, min(_MOST_SHAKEN, _SHAKEN_CELLS // max(1, pools * slots)))
    shaken = np.empty((variants, pools, slots))
    for v in range(variants):
        for pool in range(pools):
            for t in range(slots):
                shaken[v, pool, t] = price[pool, t] * _draw(state, 2000) / 1000.0
                if v % 2 == 1 and _draw(state, 4) == 0:
                    shaken[v, pool, t] += typical * _draw(state, 3000) / 1000.0
    row = blank(slots)
    old = np.full((most + 1, slots), -1, dtype=np.int16)
    old_size = np.zeros((most + 1, slots), dtype=np.int8)
    old_cost, was = np.zeros(most + 1), np.zeros(most + 1, dtype=np.bool_)
    group = np.zeros(most + 1, dtype=np.int64)
    accepted = 0
    for move in range(moves):
        j = -1
        if count[pools] > 0 and _draw(state, _SOONER * int(count[pools]) + jobs) >= jobs:
            j = int(members[pools, _draw(state, int(count[pools]))])
        for _ in range(64):
            if j >= 0:
                break
            drawn = _draw(state, jobs)
            alone = look.alone[drawn]
            if alone < np.inf and (not work.placed[drawn] or work.cost[drawn] > alone + 1e-6 * abs(alone) + 1e-9):
                j = drawn
        if j < 0:
            break
        temperature = heat * (1.0 - (move + 1.0) / moves)
        pull = max(0, _draw(state, 2400) - 1200) / 1000.0
        if not work.placed[j]:
            pull *= 2.0  # look everywhere, not only where it is cheapest
        if cheapest(p, j, price, pull, p.cap, look.scale[j], look.floor, look.scratch, np.inf, row) == np.inf:
            continue
        group[0], n = j, 1
        pool = _pool_of(p, j, row.where)
        wanted = 1 + _draw(state, most) if work.placed[j] else most
        for tries in range(8 * wanted):
            if n > wanted:
                break
            # Those that begin in the pool, now and then anyone (a job that moves may be in it later), and now and then
            # who holds a place that one of the group might give way to.
            chain = tries % 4 == 1 and n > 1
            giver = group[_draw(state, n)] if chain else j
            there = pool
            if chain:
                there = p.pair_pool[p.pair_at[giver] + _draw(state, p.pair_at[giver + 1] - p.pair_at[giver])]
            anyone = tries % 4 == 3 or count[there] == 0
            other = _draw(state, jobs) if anyone else members[there, _draw(state, count[there])]
            known = not work.placed[other]
            for i in range(n):
                known = known or group[i] == other
            for t in range(p.first[giver], p.last[giver]):
                wanted_here = work.where[other, t] == there if chain else row.where[t] >= 0
                if not known and wanted_here and (chain or work.where[other, t] == row.where[t]):
                    group[n] = other
                    n += 1
                    break
        _shuffled(p, group, n, state)
        before, least = 0.0, 0.0
        for i in range(n):
            g = group[i]
            was[i] = work.placed[g]
            least += look.alone[g]
            before += work.cost[g] if was[i] else look.drop[g]
            if was[i]:
                old[i], old_size[i], old_cost[i] = work.where[g], work.size[g], work.cost[g]
                leave(p, work, g)
        limit = before - keen * abs(before)
        if temperature > 0:
            limit -= temperature * np.log((1.0 + _draw(state, 1000000)) / 1000001.0)
        strength = _draw(state, 1200) / 1000.0
        drawn = _draw(state, 2 * variants)
        asked = shaken[drawn] if drawn < variants else price
        after, done, fits = 0.0, 0, True
        while done < n and fits:
            g = group[done]
            done += 1
            least -= look.alone[g]
            _place(p, work, g, asked, strength, look, row)
            after += work.cost[g] if work.placed[g] else look.drop[g]
            fits = after + least < limit
        if not fits:
            for i in range(done):
                if work.placed[group[i]]:
                    leave(p, work, group[i])
            for i in range(n):
                g = group[i]
                if was[i]:
                    work.where[g], work.size[g], work.cost[g] = old[i], old_size[i], old_cost[i]
                    take(p, work, g)
            continue
        accepted += 1
        for i in range(n):
            g = group[i]
            new = _pool_of(p, g, work.where[g]) if work.placed[g] else pools
            if new == lives[g]:
                continue
            last = members[lives[g], count[lives[g]] - 1]
            members[lives[g], seat[g]] = last
            seat[last] = seat[g]
            count[lives[g]] -= 1
            members[new, count[new]] = g
            seat[g] = count[new]
            count[new] += 1
            lives[g] = new
    return accepted
