"""Questions that no worker answered in time, in turns of their agents: one that asks for much waits for itself."""

from collections import OrderedDict, deque

from app.services.waiting import Question


class Overdue:
    """A queue an agent; `take` goes round the agents. Names are claims: time bounds who has many."""

    def __init__(self) -> None:
        self._by_agent: OrderedDict[str, deque[Question]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._by_agent)

    def add(self, question: Question) -> None:
        """Put it behind what its agent has here."""
        queue = self._by_agent.get(question.call.agent)
        if queue is None:
            queue = self._by_agent[question.call.agent] = deque()
        queue.append(question)

    def take(self) -> Question:
        """Return the oldest of the agent whose turn it is; raises KeyError where there is none."""
        agent, queue = self._by_agent.popitem(last=False)
        question = queue.popleft()
        if queue:
            self._by_agent[agent] = queue
        return question
