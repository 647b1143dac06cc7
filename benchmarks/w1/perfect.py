"""What W1 comes to where no slot is ever idle while a call waits, and nothing takes time but the answers.

A batch has a beginning and an end: findings are asked for after a task's last evaluation, and the last
answers come alone. So not even this reaches cap / latency, and what is missing belongs to the work, not to
who does it.
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

    The oldest task is served first, so that reports come one by one. (All evaluations before all findings
    would end a twentieth earlier, and have the first report come when nearly all is done.)
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
