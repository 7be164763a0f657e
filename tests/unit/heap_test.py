"""A process that runs for weeks keeps only the memory it needs: cycles of libraries go, and each fork is tidied too."""

import gc
import os
import threading
import weakref

from app.bootstrap import heap


class Knot:
    def __init__(self):
        self.own = self


def tidiers():
    return [thread for thread in threading.enumerate() if thread.name == "tidier"]


def test_cycles_are_collected_where_the_collector_would_not_come_by():
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        gone = threading.Event()
        weakref.finalize(knot(), gone.set)
        tidier = heap.Tidier(every_s=0.01)
        assert gone.wait(5)
        tidier.close()
    finally:
        gc.enable()


def test_a_process_has_one_tidier_and_so_has_its_fork():
    heap.keep_tidy()
    before = len(tidiers())
    heap.keep_tidy()
    assert len(tidiers()) == before
    child = os.fork()
    if not child:
        heap.keep_tidy()
        os._exit(len(tidiers()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
