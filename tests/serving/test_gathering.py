"""What comes in while a batch is under way is the next batch, and nobody's answer hangs on another's."""

import asyncio

import pytest

from raymap.serving.gathering import Gathering


def gathered(sent, most=4, wait_s=0.0, draw=None):
    """(Sizes of the batches, answers) of items that are sent at once; ``draw``: of one item, perhaps an exception."""
    sizes = []

    async def together(items):
        sizes.append(len(items))
        await asyncio.sleep(0.01)
        return [draw(item) if draw else 10 * item for item in items]

    async def main():
        gathering = Gathering(together, most, wait_s)
        return await asyncio.gather(*map(gathering, sent), return_exceptions=True)

    return sizes, asyncio.run(main())


def test_a_first_one_goes_at_once_and_those_who_wait_go_together():
    async def main():
        sizes = []

        async def together(items):
            sizes.append(items)
            await asyncio.sleep(0.02)
            return items

        gathering = Gathering(together, most=3)
        first = asyncio.create_task(gathering(0))
        await asyncio.sleep(0.005)
        others = [asyncio.create_task(gathering(number)) for number in range(1, 6)]
        return await asyncio.gather(first, *others), sizes

    answers, batches = asyncio.run(main())
    assert answers == [0, 1, 2, 3, 4, 5]
    assert batches == [[0], [1, 2, 3], [4, 5]]


def test_who_waits_gathers_more_and_everybody_gets_their_own():
    sizes, answers = gathered(range(10), most=8, wait_s=0.01)
    assert answers == [10 * number for number in range(10)] and sizes == [8, 2]


def test_one_that_fails_fails_alone_and_a_call_that_fails_fails_all_of_it():
    sizes, answers = gathered(range(4), draw=lambda item: ValueError("odd") if item == 1 else item)
    assert [str(answer) for answer in answers] == ["0", "odd", "2", "3"] and isinstance(answers[1], ValueError)

    def broken(item):
        raise RuntimeError("out of memory")

    sizes, answers = gathered(range(6), draw=broken)
    assert len(sizes) == 2 and all(isinstance(answer, RuntimeError) for answer in answers)


def test_who_has_left_is_not_drawn():
    drawn = []

    async def together(items):
        drawn.extend(items)
        await asyncio.sleep(0.01)
        return items

    async def main():
        gathering = Gathering(together, most=2)
        tasks = [asyncio.create_task(gathering(number)) for number in range(4)]
        await asyncio.sleep(0.005)
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    assert drawn == [0, 1, 2] and answers[:3] == [0, 1, 2]
    with pytest.raises(asyncio.CancelledError):
        raise answers[3]
