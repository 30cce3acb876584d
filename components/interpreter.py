"""What the interpreter is told at the program's start."""

import atexit
import gc
import signal


def for_one_run() -> None:
    """Leave Ctrl-C to the engine, and no time to the garbage collector."""
    # When a resource fails the engine interrupts the program; a traceback of that would only hide the engine's message.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Thousands of generated classes are loaded and stay. To look for garbage among them, on the way and at the end,
    # would take a third of the program's time.
    gc.set_threshold(1_000_000, 50, 100)
    atexit.register(gc.freeze)
