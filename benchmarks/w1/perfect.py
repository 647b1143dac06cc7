"""The throughput of W1 if no slot is idle while a call waits and only answers take time.

A batch has a beginning and an end: a task's findings are requested after its last evaluation, and the last
answers leave slots idle. Even this schedule does not reach cap / latency. The rest is a property of the work.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque

from benchmarks.w1.job import CALLS_A_TASK, FIELDS, SIGMA

_EVALUATIONS = CALLS_A_TASK - len(FIELDS)


def perfect_calls_per_s(tasks: int, cap: int, latency_s: float, sigma: float = SIGMA, seed: int = 0) -> float:
    """Return the calls a second of a whole batch, from its first call to its last answer.

    The oldest task is served first, so that reports appear one by one. A schedule with all evaluations before
    all findings ends a twentieth earlier, and its first report appears near the end.
    """
    draw = random.Random(seed)
    evaluations = deque(task for task in range(tasks) for _ in range(_EVALUATIONS))
    findings: deque[int] = deque()  # their tasks are older than any that has evaluations left
    missing = [_EVALUATIONS] * tasks
    flying: list[tuple[float, int, bool]] = []
    now = 0.0
    while evaluations or findings or flying:
        while len(flying) < cap and (findings or evaluations):
            is_finding = bool(findings)
            task = (findings or evaluations).popleft()
            answered = now + draw.lognormvariate(math.log(latency_s), sigma)
            heapq.heappush(flying, (answered, task, is_finding))
        now, task, is_finding = heapq.heappop(flying)
        if not is_finding:
            missing[task] -= 1
            if not missing[task]:
                findings.extend([task] * len(FIELDS))
    return tasks * CALLS_A_TASK / now
